import { parseExperiment, type DocumentRow, type SweepResults } from "@bora/contracts";
import { describe, expect, it } from "vitest";
import { compareSweeps, type SweepSide } from "./compare-sweeps.js";
import { facts, trial } from "./sweep.fixture.js";
import { summarise, type TrialFacts } from "./summarise.js";

const options = { resamples: 2000 };
const experiment = parseExperiment({
  name: "x",
  model: { source: "path", path: "m" },
  data: { source: "shakespeare", tasks: { all: true } },
  adapter: { targets: ["q_proj"] },
  prior: { taus: [0, 1e3] },
});

/** A sweep of two taus; `rate` is nats per token of a test document under its best tau, `change` edits its rows. */
function side(
  label: string,
  rate: (document: number) => number,
  { data = "d", model = "m", change = (row: DocumentRow) => row, seeds = [0] } = {},
): SweepSide {
  const base = facts(
    seeds.flatMap((seed) => [0, 1e3].map((tau): [TrialFacts, number, number] => [trial(tau, { seed }), 3, 3])),
  );
  const documents = seeds
    .flatMap((seed) =>
      [0, 1e3].flatMap((tau) =>
        (["validation", "test"] as const).flatMap((split) =>
          base.inspected.tasks.flatMap(({ name }) =>
            Array.from({ length: 20 }, (_, document): DocumentRow => ({
              ...{ model: "task", trial: trial(tau, { seed }).id, tau, seed, task: name, split, date: "" },
              ...{ document: `${split}-${document}`, tokens: 10 + (document % 5), characters: 40 + (document % 7) },
              nats: (10 + (document % 5)) * (rate(document) + (tau === 0 ? 0.5 : 0)),
            })),
          ),
        ),
      ),
    )
    .map(change);
  const inspected = { ...base.inspected, dataHash: data, modelHash: model, modelName: model };
  const results: SweepResults = summarise({ ...base, experiment, inspected, documents });
  return { label, results, documents };
}

const swing = (document: number) => 0.2 * Math.sin(document * 3.1);

describe("sweeps against the first", () => {
  it("pair over the same documents in nats per token, each at its own best tau", () => {
    const [a, b] = [side("a", (d) => 2 + swing(d)), side("b", (d) => 1.9 + swing(d) + 0.02 * Math.cos(d))];
    const found = compareSweeps([a, b], options);
    expect(found.unit).toBe("nats per token");
    expect(found.unpaired).toEqual([]);
    expect(found.differences).toHaveLength(1);
    const [own] = found.differences;
    expect(own?.difference).toBeCloseTo(-0.1, 2);
    expect(own?.low).toBeLessThan(own?.difference ?? NaN);
    expect(own?.high).toBeLessThan(0); // far closer than the documents differ among themselves
    expect(own).toMatchObject({ leftOut: 0, documents: 20 * a.results.data.tasks.length, seeds: 1 });
    const [first] = found.sweeps;
    expect((first?.high ?? 0) - (first?.low ?? 0)).toBeGreaterThan(3 * ((own?.high ?? 0) - (own?.low ?? 0)));
    expect(found.sweeps.map(({ tau }) => tau)).toEqual([1e3, 1e3]);
    expect(found.sweeps[0]?.byTau.map(({ tau }) => tau)).toEqual([0, 1e3]);
    expect(found.sweeps[0]?.value).toBeCloseTo(Math.log(found.sweeps[0]?.perplexity ?? NaN), 10);
  });

  it("are in bits per character where another tokeniser made other tokens of the same texts", () => {
    // Twice the tokens, the same nats a document: the same bits. Every tenth document was cut elsewhere.
    const retokenised = (row: DocumentRow) => ({
      ...{ ...row, tokens: 2 * row.tokens },
      characters: row.document.endsWith("7") ? row.characters - 20 : row.characters,
    });
    const [a, b] = [
      side("a", (d) => 2 + swing(d)),
      side("b", (d) => 2 + swing(d) + 0.01 * Math.cos(d), {
        data: "other tokens",
        model: "other",
        change: retokenised,
      }),
    ];
    const found = compareSweeps([a, b], options);
    expect(found.unit).toBe("bits per character");
    expect(found.differences[0]?.difference).toBeCloseTo(0, 2);
    expect(found.differences[0]?.leftOut).toBe(2 * a.results.data.tasks.length);
    expect(found.settings.map(({ path }) => path)).toEqual(expect.arrayContaining(["base model", "data hash"]));
  });

  it("counts the nats of a text that is a little longer as of as much text", () => {
    const longer = (row: DocumentRow) => ({
      ...row,
      characters: row.characters + 1,
      nats: (row.nats * (row.characters + 1)) / row.characters,
    });
    const [a, b] = [
      side("a", (d) => 2 + swing(d)),
      side("b", (d) => 2 + swing(d), { data: "o", model: "o", change: longer }),
    ];
    const found = compareSweeps([a, b], options);
    expect(found.differences[0]?.difference ?? NaN).toBeCloseTo(0, 12);
  });

  it("stand side by side, unpaired, when their data are others", () => {
    const found = compareSweeps([side("a", () => 2), side("b", () => 1, { data: "elsewhere" })], options);
    expect(found.differences).toEqual([]);
    expect(found.unpaired).toEqual([{ label: "b", why: "its data (hash elsewhere) are not those of a (d)" }]);
    expect(found.unit).toBe("bits per character");
    expect(found.sweeps).toHaveLength(2);
  });

  it("pair by seed where they share seeds, and in order where they share none", () => {
    const a = side("a", (d) => 2 + swing(d), { seeds: [0, 1, 2] });
    const b = side("b", (d) => 1.9 + swing(d), { seeds: [1, 2] });
    const c = side("c", (d) => 1.9 + swing(d), { seeds: [7] });
    expect(compareSweeps([a, b, c], options).differences.map(({ seeds }) => seeds)).toEqual([2, 1]);
  });

  it("adjusts p over the sweeps, and refuses one without a result", () => {
    const sides = [
      side("a", (d) => 2 + swing(d)),
      side("b", (d) => 1.99 + swing(d) + 0.05 * Math.cos(d)),
      side("c", (d) => 1.9 + swing(d) + 0.05 * Math.sin(d)),
    ];
    const found = compareSweeps(sides, options);
    for (const { p, pHolm } of found.differences) expect(pHolm).toBeGreaterThanOrEqual(p);
    const [first] = sides;
    const none = first && { ...first, results: { ...first.results, best: null } };
    expect(() => compareSweeps(none ? [none, none] : [])).toThrow(expect.objectContaining({ code: "results_missing" }));
  });
});
