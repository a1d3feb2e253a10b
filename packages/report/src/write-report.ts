import { findings, type Evidence, type Findings } from "@bora/analysis";
import { BoraError, type SweepResults } from "@bora/contracts";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { csvTable, latexTable, markdownTable, parquetTable, type DataTable } from "./data-table.js";
import { documentsParquet } from "./documents-parquet.js";
import type { ReportFigure } from "./report-figures.js";
import { reportFigures } from "./report-figures.js";
import { reportHtml } from "./report-html.js";
import { reportTables } from "./report-tables.js";
import { resultsJson } from "./results-json.js";

/** Puts a file in place in one piece: a reader sees the old one or the new one, a crash leaves one of them. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const next = `${path}.next`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(next, "w");
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (cause) {
    await rm(next, { force: true }).catch(() => undefined);
    if (!(cause instanceof Error && "code" in cause && (cause.code === "ENOSPC" || cause.code === "EDQUOT")))
      throw cause;
    throw new BoraError("disk_full", `no space for ${path} (${content.length} bytes)`, {
      hint: "free some space and run the same command again: nothing is trained twice",
      cause,
    });
  }
}

/**
 * What the end of a sweep leaves: documents.parquet, report.html and, last, results.json, so that results.json is there
 * only with the others. Throws disk_full.
 */
export async function writeReport(folder: string, results: SweepResults, evidence: Evidence): Promise<void> {
  await replaceFile(join(folder, "documents.parquet"), documentsParquet(evidence.documents));
  await replaceFile(join(folder, "report.html"), reportHtml(results, findings(results, evidence)));
  await replaceFile(join(folder, "results.json"), resultsJson(results));
}

/** A figure as svg, png and pdf; returns the names of the files. */
export async function writeFigure(folder: string, { name, title, svg }: Pick<ReportFigure, "name" | "title" | "svg">) {
  if (svg === null) return [];
  const { svgToPdfFile, svgToPng } = await import("./paper.js"); // only here: it takes a while to load
  const drawing = svg({ theme: "paper" });
  const files = {
    [`${name}.svg`]: drawing,
    [`${name}.png`]: svgToPng(drawing),
    [`${name}.pdf`]: await svgToPdfFile(drawing, title),
  };
  for (const [file, content] of Object.entries(files)) await replaceFile(join(folder, file), content);
  return Object.keys(files);
}

/** A table as csv, parquet, Markdown and LaTeX; returns the names of the files. */
export async function writeTable(folder: string, table: DataTable): Promise<string[]> {
  const files = {
    [`${table.name}.csv`]: csvTable(table),
    [`${table.name}.parquet`]: parquetTable(table),
    [`${table.name}.md`]: markdownTable(table),
    [`${table.name}.tex`]: latexTable(table),
  };
  for (const [file, content] of Object.entries(files)) await replaceFile(join(folder, file), content);
  return Object.keys(files);
}

export interface WrittenReport {
  files: string[]; // in the folder
  findings: Findings;
  missing: { figure: string; why: string }[]; // that could not be drawn
}

/**
 * `bora report`: report.html, figures/*.svg|png|pdf and tables/*.csv|parquet|md|tex; the same bytes for the same
 * results. Throws disk_full.
 */
export async function writeWholeReport(
  folder: string,
  results: SweepResults,
  { open = 0, ...evidence }: Evidence & { open?: number },
): Promise<WrittenReport> {
  const found = findings(results, evidence);
  const [figures, tables] = [reportFigures(found), reportTables(results, found)];
  await replaceFile(join(folder, "report.html"), reportHtml(results, found, open));
  const files = ["report.html"];
  for (const figure of figures)
    files.push(...(await writeFigure(join(folder, "figures"), figure)).map((name) => `figures/${name}`));
  for (const table of tables)
    files.push(...(await writeTable(join(folder, "tables"), table)).map((name) => `tables/${name}`));
  const missing = figures.filter(({ svg }) => svg === null).map(({ title, missing: why }) => ({ figure: title, why }));
  return { files, findings: found, missing };
}
