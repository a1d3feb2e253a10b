import { BoraError, type DocumentRow, type SweepResults } from "@bora/contracts";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { documentsParquet } from "./documents-parquet.js";
import { reportHtml } from "./report-html.js";
import { resultsJson } from "./results-json.js";

/** Puts a file in place in one piece: a reader sees the old one or the new one, a crash leaves one of them. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const next = `${path}.next`;
  try {
    const file = await open(next, "w");
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (cause) {
    await rm(next, { force: true });
    if (!(cause instanceof Error && "code" in cause && (cause.code === "ENOSPC" || cause.code === "EDQUOT")))
      throw cause;
    throw new BoraError("disk_full", `no space for ${path} (${content.length} bytes)`, {
      hint: "free some space and run the same command again: nothing is trained twice",
      cause,
    });
  }
}

/**
 * Writes documents.parquet, report.html and, last, results.json into the sweep's folder, so that results.json is there
 * only with the others. Throws disk_full.
 */
export async function writeReport(
  folder: string,
  results: SweepResults,
  documents: readonly DocumentRow[],
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await replaceFile(join(folder, "documents.parquet"), documentsParquet(documents));
  await replaceFile(join(folder, "report.html"), reportHtml(results));
  await replaceFile(join(folder, "results.json"), resultsJson(results));
}
