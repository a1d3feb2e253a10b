import { SweepResults } from "@bora/contracts";
import fc from "fast-check";
import { parquetMetadata, parquetReadObjects, parquetSchema } from "hyparquet";
import { parseHTML } from "linkedom";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { documentsParquet } from "./documents-parquet.js";
import { perplexityAgainstTau } from "./figures/perplexity-against-tau.js";
import { perplexityTicks } from "./figures/perplexity-ticks.js";
import { spreadLabels } from "./figures/spread-labels.js";
import { readableTicks, tauAxis } from "./figures/tau-axis.js";
import { reportHtml } from "./report-html.js";
import { documentRows, experiment, results } from "./results.fixture.js";
import { resultsJson } from "./results-json.js";
import { writeReport } from "./write-report.js";

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

describe("the figure", () => {
  const draw = (of: SweepResults) => parseHTML(perplexityAgainstTau(of)).document;

  it("names both ends, every task and the base model, and marks the best tau", () => {
    const texts = [...draw(results).querySelectorAll("text")].map((text) => text.textContent);
    for (const expected of ["1e3", "1e4", "1e5", "Test perplexity", "base model", "all tasks (macro mean)"])
      expect(texts).toContain(expected);
    expect(texts).toContain("Falstaff (Henry IV, Part 1)");
    expect(texts.filter((text) => /^(0independent|infshared)$/.test(text))).toHaveLength(2);
    const lines = [...draw(results).querySelectorAll('g[aria-label="line"]')];
    expect(lines.map((group) => group.querySelectorAll("path").length)).toEqual([6, 1]);
    expect(lines.map((group) => Number(group.getAttribute("stroke-width") ?? 1))).toEqual([1, 3.5]);
    const dots = draw(results).querySelectorAll('g[aria-label="dot"]');
    expect(dots[1]?.querySelectorAll("circle")).toHaveLength(1);
  });

  it("is the same text each time, and none without finished trials", () => {
    expect(perplexityAgainstTau(results)).toBe(perplexityAgainstTau(results));
    expect(perplexityAgainstTau(results)).not.toMatch(/NaN|undefined|Infinity/);
    const unfinished = results.trials.map((trial) => ({ ...trial, state: "cancelled" as const, test: null }));
    expect(perplexityAgainstTau({ ...results, trials: unfinished, best: null })).toBe("");
  });

  it.each([[[0]], [[Infinity]], [[1e3]], [[0, Infinity]]])("stands with the grid %s alone", (grid) => {
    const trials = results.trials.filter(({ tau }) => grid.includes(tau));
    const svg = perplexityAgainstTau({ ...results, trials, base: null });
    expect(svg).toContain("all tasks (macro mean)");
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

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
          const ticks = perplexityTicks(low, low * factor);
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

describe("report.html", () => {
  const tables = (of: SweepResults) =>
    [...parseHTML(reportHtml(of)).document.querySelectorAll("table")].map((table) =>
      [...table.querySelectorAll("tbody tr")].map((row) =>
        [...row.querySelectorAll("td")].map((cell) => cell.textContent),
      ),
    );

  it("says which tau won, by how much, and whether that is noise", () => {
    const text = reportHtml(results);
    expect(text).toContain("tau = 1e4 has the lowest perplexity on validation");
    expect(text).toMatch(/Against one shared adapter \(tau = inf\) .* within noise/);
    expect(text).toContain("ended at the step limit (400 steps)");
  });

  it("has a row for each tau and the base, each task, each trial", () => {
    const [taus = [], tasks = [], trials = [], data = []] = tables(results);
    expect(taus.map(([tau]) => tau)).toEqual([
      "0 independent",
      "1e3",
      "1e4 best on validation",
      "1e5",
      "inf shared",
      "base model",
    ]);
    expect(taus[0]?.[4]).toBe("0.0 %");
    expect(taus[2]?.[4]).toMatch(/^−\d+\.\d %$/);
    expect(tasks.map(([name]) => name)[0]).toBe("Hamlet (Hamlet)");
    expect(trials.map((row) => row[5])).toContain("step limit");
    expect(data).toHaveLength(6);
  });

  it("says what rounding does where that was checked, and nothing where it was not", () => {
    const checked = [
      { natsPerToken: 3.06, float32NatsPerToken: 3, largestRelativeDifference: 0.125 },
      { natsPerToken: 3.6, float32NatsPerToken: 4, largestRelativeDifference: 0.0625 },
    ];
    const trials = results.trials.map((trial, i) => ({ ...trial, float32Check: checked[i] ?? null }));
    expect(reportHtml({ ...results, trials })).toMatch(
      /in float32 .* at most 10 %, a document&#39;s\s+nats by at most 13 %/,
    );
    expect(reportHtml(results)).not.toContain("in float32");
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
    const [taus = [], , byTrial = []] = tables({ ...results, trials, base: null });
    expect(taus[0]?.slice(1)).toEqual(["", "", "", "", "", ""]);
    expect(byTrial[0]).toContain("failed: out_of_memory");
  });

  it("escapes every name, and needs nothing from elsewhere", () => {
    const hostile = `<script>alert("1")</script>&'`;
    const named = JSON.parse(
      resultsJson(results).replaceAll("Hamlet (Hamlet)", JSON.stringify(hostile).slice(1, -1)),
    ) as unknown;
    const parsed = SweepResults.parse(named);
    const text = reportHtml({ ...parsed, warnings: [hostile], model: { name: hostile, hash: hostile } });
    const { document } = parseHTML(text);
    expect(document.querySelectorAll("script, img, link, iframe, [src], [href], [onclick]")).toHaveLength(0);
    expect(text).not.toContain("<script");
    expect(text).not.toMatch(/https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
    expect(document.querySelector("ul.warnings li")?.textContent).toBe(hostile);
    expect(tables(parsed)[1]?.map(([name]) => name)).toContain(hostile);
  });
});

describe("writeReport", () => {
  it("writes the three files, twice the same, and nothing else", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bora-"));
    try {
      const read = async () => {
        await writeReport(join(folder, "sweep"), results, documentRows);
        const files = (await readdir(join(folder, "sweep"))).toSorted();
        return Promise.all(files.map(async (name) => [name, await readFile(join(folder, "sweep", name), "latin1")]));
      };
      const first = await read();
      expect(first.map(([name]) => name)).toEqual(["documents.parquet", "report.html", "results.json"]);
      expect(await read()).toEqual(first);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
