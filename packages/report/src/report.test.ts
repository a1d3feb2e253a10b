import { findings } from "@bora/analysis";
import { SweepResults } from "@bora/contracts";
import fc from "fast-check";
import { parquetMetadata, parquetReadObjects, parquetSchema } from "hyparquet";
import { parseHTML } from "linkedom";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { csvTable, latexTable, markdownTable, parquetTable, type DataTable } from "./data-table.js";
import { documentsParquet } from "./documents-parquet.js";
import { logTicks } from "./figures/log-ticks.js";
import { spreadLabels } from "./figures/spread-labels.js";
import { readableTicks, tauAxis } from "./figures/tau-axis.js";
import { reportHtml } from "./report-html.js";
import { reportTables } from "./report-tables.js";
import { documentRows, experiment, gram, results } from "./results.fixture.js";
import { resultsJson } from "./results-json.js";
import { writeReport, writeWholeReport } from "./write-report.js";

/** The same value, its keys the other way round at every depth. */
const turned = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(turned)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .toReversed()
            .map(([key, part]) => [key, turned(part)]),
        )
      : value;

describe("results.json", () => {
  it("reads back as the same results, with infinity as inf", () => {
    const text = resultsJson(results);
    expect(SweepResults.parse(JSON.parse(text))).toEqual({
      ...results,
      experiment: { ...experiment, prior: { ...experiment.prior, taus: [0, 1e3, 1e4, 1e5, "inf"] } },
    });
    expect(JSON.parse(text).trials.map(({ tau }: { tau: unknown }) => tau)).toEqual([0, 1e3, 1e4, 1e5, "inf"]);
  });

  it("is the same bytes for the same results, whatever the order of their keys", () => {
    expect(resultsJson(turned(results) as SweepResults)).toBe(resultsJson(results));
    expect(resultsJson(SweepResults.parse(JSON.parse(resultsJson(results))))).toBe(resultsJson(results));
  });

  it("never holds a number that is none", () => {
    const broken = structuredClone(results);
    if (broken.base) broken.base.test.nats = NaN;
    expect(() => resultsJson(broken)).toThrow();
  });
});

describe("documents.parquet", () => {
  const file = (rows = documentRows) => documentsParquet(rows).slice().buffer;

  it("reads back as typed rows, infinity included, null tau and seed for the base model", async () => {
    const rows = await parquetReadObjects({ file: file() });
    expect(rows).toHaveLength(documentRows.length);
    expect(rows[0]).toEqual({ ...documentRows[0], seed: 0n });
    const shared = documentRows.find(({ tau }) => tau === Infinity);
    expect(rows.find(({ tau }) => tau === Infinity)).toEqual({ ...shared, seed: 0n });
    const base = documentRows.find(({ model }) => model === "base");
    expect(rows.find(({ model }) => model === "base")).toEqual({ ...base, tau: null, seed: null });
    const total = (values: readonly { nats: number }[]) => values.reduce((sum, { nats }) => sum + nats, 0);
    expect(total(rows as { nats: number }[])).toBeCloseTo(total(documentRows), 6);
  });

  it("declares the documented columns and types", () => {
    const { children } = parquetSchema(parquetMetadata(file()));
    expect(children.map(({ element }) => [element.name, element.type, element.repetition_type])).toEqual([
      ["model", "BYTE_ARRAY", "REQUIRED"],
      ["trial", "BYTE_ARRAY", "REQUIRED"],
      ["tau", "DOUBLE", "OPTIONAL"],
      ["seed", "INT64", "OPTIONAL"],
      ["task", "BYTE_ARRAY", "REQUIRED"],
      ["split", "BYTE_ARRAY", "REQUIRED"],
      ["document", "BYTE_ARRAY", "REQUIRED"],
      ["date", "BYTE_ARRAY", "REQUIRED"],
      ["tokens", "INT32", "REQUIRED"],
      ["characters", "INT32", "REQUIRED"],
      ["nats", "DOUBLE", "REQUIRED"],
    ]);
  });

  it("does not depend on the order of the trials, and may be empty", async () => {
    const late = documentRows.toSorted((a, b) => (a.trial < b.trial ? 1 : a.trial > b.trial ? -1 : 0));
    expect(late[0]).not.toEqual(documentRows[0]);
    expect(Buffer.from(file(late)).equals(Buffer.from(file()))).toBe(true);
    expect(await parquetReadObjects({ file: file([]) })).toEqual([]);
  });
});

describe("axes and labels", () => {
  it("places 0 and infinity beyond the finite taus", () => {
    expect(tauAxis([Infinity, 1e3, 0, 1e5])).toEqual([
      { tau: 0, at: 2, label: "0\nindependent" },
      { tau: 1e3, at: 3, label: "1e3" },
      { tau: 1e5, at: 5, label: "1e5" },
      { tau: Infinity, at: 6, label: "inf\nshared" },
    ]);
    const ticks = tauAxis([0, 1, 2, 3, 4, 5, 1000, Infinity]);
    expect(readableTicks(ticks, 1).map(({ tau }) => tau)).toEqual([0, 1, 1000, Infinity]);
  });

  it("has at least four round perplexities on its axis where they exist", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1.1, max: 500, noNaN: true }),
        fc.double({ min: 2, max: 50, noNaN: true }),
        (low, factor) => {
          const ticks = logTicks(low, low * factor);
          expect(ticks.every((tick) => tick >= low && tick <= low * factor)).toBe(true);
          expect(ticks.length).toBeGreaterThanOrEqual(4);
          expect(ticks.length).toBeLessThanOrEqual(14);
        },
      ),
    );
  });

  it("keeps names apart, inside, in order, and where they belong if there is room", () => {
    const at = fc.array(fc.double({ min: 30, max: 400, noNaN: true }), { minLength: 1, maxLength: 25 });
    fc.assert(
      fc.property(at, (wanted) => {
        const placed = spreadLabels(
          wanted.map((value) => ({ label: value, at: value })),
          13,
          [34, 398],
        );
        placed.forEach(({ label, at: found }, index) => {
          expect(found).toBeGreaterThanOrEqual(34 - 1e-9);
          expect(found).toBeLessThanOrEqual(398 + 1e-9);
          const before = placed[index - 1];
          if (before === undefined) return;
          expect(found - before.at).toBeGreaterThanOrEqual(13 - 1e-9);
          expect(label).toBeGreaterThanOrEqual(before.label);
        });
      }),
    );
    const roomy = [100, 150, 200].map((value) => ({ label: String(value), at: value }));
    expect(spreadLabels(roomy, 13, [34, 398])).toEqual(roomy);
  });
});

const evidence = { documents: documentRows, gram };
const found = findings(results, evidence);
const htmlOf = (of: SweepResults, open = 0) => reportHtml(of, findings(of, evidence), open);

describe("report.html", () => {
  const pageOf = (of: SweepResults) => parseHTML(htmlOf(of)).document;
  const tables = (of: SweepResults): Record<string, string[][]> =>
    Object.fromEntries(
      [...pageOf(of).querySelectorAll("table")].map((table) => [
        table.parentElement?.getAttribute("aria-label") ?? "",
        [...table.querySelectorAll("tbody tr")].map((row) =>
          [...row.querySelectorAll("td")].map((cell) => cell.textContent ?? ""),
        ),
      ]),
    );

  it("says which tau won, by how much, and plainly what is noise", () => {
    const text = htmlOf(results);
    expect(text).toContain("tau = 1e4 has the lowest perplexity on validation");
    expect(text).toMatch(/Against one shared adapter \(tau = inf\) .* within noise/);
    expect(text).toMatch(/On test, .*tau = inf.* within noise of it: .* do not say which is better/);
    expect(text).toMatch(/after Holm&#39;s adjustment over the tasks: 6 of 6 better, 0 worse, 0 within noise/);
    expect(text).toContain("ended at the step limit (400 steps)");
  });

  it("has all eight figures, wide and narrow, with words under each", () => {
    const page = pageOf(results);
    const figures = [...page.querySelectorAll("figure")];
    expect(figures).toHaveLength(9); // the gain against size over each end
    for (const figure of figures) {
      expect([...figure.querySelectorAll("svg")].map((svg) => svg.getAttribute("class"))).toEqual(["wide", "narrow"]);
      expect(figure.querySelector("figcaption")?.textContent.length).toBeGreaterThan(40);
    }
    expect(page.body.textContent).not.toContain("Not drawn");
    expect(htmlOf(results)).not.toMatch(/NaN|undefined|>Infinity/);
  });

  it("says why a figure is not drawn", () => {
    const bare = {
      ...results,
      trials: results.trials.map((trial) => ({ ...trial, distances: null, taskBestSteps: [] })),
    };
    const text = reportHtml(bare, findings(bare, null));
    expect(text).toMatch(/Distance to Θ against training size<\/h3>\s*<p class="soft">\s*Not drawn: no finite τ/);
    expect(text).toMatch(/Map of the adapters<\/h3>\s*<p class="soft">\s*Not drawn/);
    expect(text).toMatch(/Gain by task<\/h3>\s*<p class="soft">\s*Not drawn/);
  });

  it("marks what is unfinished", () => {
    expect(htmlOf(results)).not.toContain("Unfinished");
    expect(htmlOf(results, 2)).toMatch(/Unfinished: 2 of 5 trials have not ended/);
  });

  it("states data, model and versions in words for a methods section", () => {
    const text = parseHTML(htmlOf(results)).document.body.textContent.replaceAll(/\s+/g, " ");
    expect(text).toContain(
      "HuggingFaceTB/SmolLM2-135M-Instruct (sha256 7d1e2f3a4b5c, base weights in bfloat16 on cpu)",
    );
    expect(text).toContain(
      "(sha256 0b6c1c1f5e0d), split by seed 0: 254 training documents (8 to 90 a task, 11,938 scored tokens)",
    );
    expect(text).toContain("tau in {0, 1e3, 1e4, 1e5, inf} nats");
    expect(text).toContain("Software: bora 0.1.0, peft 0.21.2, python 3.11.2, torch 2.13.0, transformers 5.23.0.");
  });

  it("has a row for each tau and the base, each task, each trial", () => {
    const all = tables(results);
    const taus = all["Perplexity by τ"] ?? [];
    expect(taus.map(([tau, note]) => [tau, note])).toEqual([
      ["0", ""],
      ["1e3", ""],
      ["1e4", "best on validation"],
      ["1e5", ""],
      ["inf", ""],
      ["", "base model"],
    ]);
    expect(taus[0]?.[7]).toBe("0.0 %");
    expect(taus[2]?.[7]).toMatch(/^−\d+\.\d %$/);
    expect(all["The best τ against the others, on test"]?.map((row) => row[7])).toEqual([
      "better",
      "better",
      "within noise",
      "within noise",
    ]);
    expect(all["Where sharing pays: test perplexity by task"]?.[0]?.[0]).toBe("Hamlet (Hamlet)");
    expect(all["Trials"]?.map((row) => row[5])).toContain("step limit");
    expect(all["Documents"]).toHaveLength(6);
    expect(all["Distance to Θ at τ = 1e4"]).toHaveLength(6);
  });

  it("says what rounding does where that was checked, and nothing where it was not", () => {
    const checked = [
      { natsPerToken: 3.06, float32NatsPerToken: 3, largestRelativeDifference: 0.125 },
      { natsPerToken: 3.6, float32NatsPerToken: 4, largestRelativeDifference: 0.0625 },
    ];
    const trials = results.trials.map((trial, i) => ({ ...trial, float32Check: checked[i] ?? null }));
    expect(htmlOf({ ...results, trials })).toMatch(
      /in float32 .* at most 10 %, a document&#39;s\s+nats by at most 13 %/,
    );
    expect(htmlOf(results)).not.toContain("in float32");
  });

  it("leaves numbers out where there are none", () => {
    const trials = results.trials.map((trial) =>
      trial.tau === 0
        ? {
            ...trial,
            state: "failed" as const,
            ...{ test: null, validation: null, priorMean: null, steps: null, bestStep: null, ended: null },
            failure: { code: "out_of_memory", message: "m", hint: "h" },
          }
        : trial,
    );
    const all = tables({ ...results, trials, base: null });
    expect(all["Perplexity by τ"]?.[0]?.slice(3)).toEqual(["", "", "", "", "", "", ""]);
    expect(all["Trials"]?.[0]).toContain("failed: out_of_memory");
  });

  it("escapes every name, and needs nothing from elsewhere", () => {
    const hostile = `<script>alert("1")</script>&'`;
    const named = JSON.parse(
      resultsJson(results).replaceAll("Hamlet (Hamlet)", JSON.stringify(hostile).slice(1, -1)),
    ) as unknown;
    const parsed = SweepResults.parse(named);
    const rows = documentRows.map((row) => (row.task === "Hamlet (Hamlet)" ? { ...row, task: hostile } : row));
    const told = { ...parsed, warnings: [hostile], model: { name: hostile, hash: hostile } };
    const text = reportHtml(told, findings(told, { documents: rows, gram }));
    const { document } = parseHTML(text);
    expect(document.querySelectorAll("script, img, link, iframe, [src], [href], [onclick]")).toHaveLength(0);
    expect(text).not.toContain("<script");
    expect(text).not.toMatch(/https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
    expect(document.querySelector("ul.warnings li")?.textContent).toBe(hostile);
    expect(text.split("&lt;script&gt;").length).toBeGreaterThan(10);
  });
});

describe("what is written", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "bora-"));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const written = async () => {
    const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    const paths = names.map((entry) => join(entry.parentPath, entry.name)).toSorted();
    return Promise.all(paths.map(async (path) => [relative(folder, path), await readFile(path, "latin1")] as const));
  };

  it("at a sweep's end: three files, twice the same, and nothing else", async () => {
    await writeReport(folder, results, evidence);
    const first = await written();
    expect(first.map(([name]) => name)).toEqual(["documents.parquet", "report.html", "results.json"]);
    await writeReport(folder, results, evidence);
    expect(await written()).toEqual(first);
  });

  it("by bora report: page, figures and tables, twice the same bytes, in seconds", async () => {
    const began = performance.now();
    const { files, missing } = await writeWholeReport(folder, results, evidence);
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(missing).toEqual([]);
    const first = await written();
    expect(first.map(([name]) => name)).toEqual(files.toSorted());
    expect(files.filter((name) => name.endsWith(".svg"))).toHaveLength(9);
    for (const ending of ["png", "pdf"]) expect(files.filter((name) => name.endsWith(ending))).toHaveLength(9);
    for (const ending of ["csv", "parquet", "md", "tex"])
      expect(files.filter((name) => name.endsWith(ending))).toHaveLength(6);
    for (const [name, content] of first) {
      if (name.endsWith(".png")) expect(content.startsWith("\x89PNG")).toBe(true);
      if (name.endsWith(".pdf")) expect(content).toMatch(/^%PDF-1[\s\S]*\/BaseFont \/[A-Z]{6}\+DejaVuSans/);
      if (name === "report.html") expect(content.length).toBeLessThan(3_000_000);
    }
    await writeWholeReport(folder, results, evidence);
    expect(await written()).toEqual(first);
  });
});

describe("a table", () => {
  const table: DataTable = {
    ...{ name: "t", title: "T" },
    columns: [
      { name: "task", head: "task", kind: "text" },
      { name: "tau", head: "τ", kind: "tau" },
      { name: "gain_percent", head: "gain_%", kind: "percent" },
    ],
    rows: [{ cells: ['a "b", c|d_e', Infinity, -1.25], best: true }, { cells: ["f", 1e3, null] }],
  };

  it("is csv with every digit, quoted where it must be", () => {
    expect(csvTable(table)).toBe('task,tau,gain_percent\r\n"a ""b"", c|d_e",inf,-1.25\r\nf,1000,\r\n');
  });

  it("is Markdown and LaTeX for people, escaped", () => {
    expect(markdownTable(table)).toContain('| **a "b", c\\|d_e** | **inf** | **−1.3 %** |\n| f | 1e3 |  |\n');
    expect(latexTable(table)).toContain('\\textbf{a "b", c|d\\_e} & \\textbf{inf} & \\textbf{$-$1.3 \\%} \\\\\n');
    expect(latexTable(table)).toContain("task & $\\tau$ & gain\\_\\% \\\\\n");
  });

  it("is typed parquet, infinity included", async () => {
    expect(await parquetReadObjects({ file: parquetTable(table).slice().buffer })).toEqual([
      { task: 'a "b", c|d_e', tau: Infinity, gain_percent: -1.25 },
      { task: "f", tau: 1000, gain_percent: null },
    ]);
  });

  it("of a report has as many cells in a row as columns", () => {
    for (const { columns, rows, name } of reportTables(results, found))
      for (const { cells } of rows) expect(cells, name).toHaveLength(columns.length);
  });
});
