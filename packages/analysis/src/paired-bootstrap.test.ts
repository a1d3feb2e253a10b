import fc from "fast-check";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { describe, expect, it } from "vitest";
import { pairedBootstrap, pairTasks, type PairedTask } from "./paired-bootstrap.js";
import { row } from "./sweep.fixture.js";

/** Standard normal draws (Box and Muller). */
function normals(seed: number): () => number {
  const generator = xoroshiro128plus(seed);
  const uniform = () => uniformFloat64(generator);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Every possible resample of every task, with its probability: the bootstrap's exact distribution, slowly. */
function exactBootstrap(tasks: readonly PairedTask[]): number[] {
  const means = tasks.map(({ tokens, differences }) => {
    const n = tokens.length;
    return Array.from({ length: n ** n }, (_, code) => {
      const drawn = Array.from({ length: n }, (_, place) => Math.floor(code / n ** place) % n);
      const total = (values: readonly number[]) => drawn.reduce((sum, i) => sum + (values[i] ?? NaN), 0);
      return total(differences[0] ?? []) / total(tokens);
    });
  });
  return means.reduce((sums, own) => sums.flatMap((sum) => own.map((value) => sum + value / tasks.length)), [0]);
}

describe("paired bootstrap", () => {
  const small: PairedTask[] = [
    { tokens: [4, 10, 7, 21], differences: [[1, -3, 2, -9]] },
    { tokens: [12, 5, 30], differences: [[-4, 0.5, -6]] },
  ];

  it("has the point estimate mean over tasks of nats difference per token", () => {
    expect(pairedBootstrap(small).difference).toBeCloseTo((-9 / 42 + -9.5 / 47) / 2, 12);
  });

  it("has the quantiles of the exact distribution over all resamples", () => {
    const exact = exactBootstrap(small).toSorted((a, b) => a - b);
    expect(exact).toHaveLength(4 ** 4 * 3 ** 3);
    const { low, high } = pairedBootstrap(small, { resamples: 40_000 });
    const share = (holds: (value: number) => boolean) => exact.filter(holds).length / exact.length;
    for (const [bound, fraction] of [
      [low, 0.025],
      [high, 0.975],
    ] as const) {
      expect(share((value) => value < bound - 1e-12)).toBeLessThanOrEqual(fraction + 0.003); // values repeat:
      expect(share((value) => value <= bound + 1e-12)).toBeGreaterThanOrEqual(fraction - 0.003); // a quantile is a step
    }
  });

  it("is the same for the same seed, and another for another", () => {
    expect(pairedBootstrap(small)).toEqual(pairedBootstrap(small));
    expect(pairedBootstrap(small, { seed: 1 }).low).not.toBe(pairedBootstrap(small).low);
  });

  it("turns its sign with the two trials, and has no width without a difference", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 50 }), fc.double({ min: -9, max: 9, noNaN: true })), {
          minLength: 2,
          maxLength: 8,
        }),
        (pairs) => {
          const tokens = pairs.map(([count]) => count);
          const nats = pairs.map(([, value]) => value);
          const there = pairedBootstrap([{ tokens, differences: [nats] }], { resamples: 200 });
          const back = pairedBootstrap([{ tokens, differences: [nats.map((value) => -value)] }], { resamples: 200 });
          expect(back.low).toBeCloseTo(-there.high, 10);
          expect(back.high).toBeCloseTo(-there.low, 10);
          const even = pairedBootstrap([{ tokens, differences: [tokens.map((count) => 0.25 * count)] }], {
            resamples: 50,
          });
          expect([even.low, even.difference, even.high].map((x) => Math.round(x * 1e9) / 1e9)).toEqual([
            0.25, 0.25, 0.25,
          ]);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("widens when seeds disagree", () => {
    const tokens = Array.from({ length: 20 }, () => 10);
    const level = (value: number) => tokens.map(() => value);
    const agreed = pairedBootstrap([{ tokens, differences: [level(2), level(2), level(2)] }]);
    const split = pairedBootstrap([{ tokens, differences: [level(0), level(2), level(4)] }]);
    expect(split.difference).toBeCloseTo(agreed.difference, 12);
    expect(agreed.high - agreed.low).toBeCloseTo(0, 12);
    expect(split.high - split.low).toBeGreaterThan(0.2);
  });

  it("covers the true difference in about 95 of 100 sweeps", () => {
    const next = normals(5);
    const truth = -0.1; // nats per token
    const studies = 300;
    let covered = 0;
    for (let study = 0; study < studies; study += 1) {
      const tasks = [40, 60].map((documents) => {
        const tokens = Array.from({ length: documents }, () => 20 + Math.round(15 * Math.abs(next())));
        return { tokens, differences: [tokens.map((count) => truth * count + 6 * next())] };
      });
      const { low, high } = pairedBootstrap(tasks, { resamples: 400, seed: study });
      if (low <= truth && truth <= high) covered += 1;
    }
    expect(covered / studies).toBeGreaterThan(0.91);
    expect(covered / studies).toBeLessThan(0.985);
  });
});

describe("pairTasks", () => {
  const first = [
    row({ document: "a", nats: 5 }),
    row({ document: "b", tokens: 4, nats: 2 }),
    row({ task: "Ophelia", nats: 7 }),
  ];
  const second = [
    row({ task: "Ophelia", nats: 8 }),
    row({ document: "b", tokens: 4, nats: 3 }),
    row({ document: "a", nats: 1 }),
  ];

  it("matches documents by task and name, in any order", () => {
    expect(pairTasks([{ first, second }])).toEqual([
      { tokens: [10, 4], differences: [[4, -1]] },
      { tokens: [10], differences: [[-1]] },
    ]);
    expect(
      pairTasks([
        { first, second },
        { first: second, second: first },
      ])[0]?.differences,
    ).toEqual([
      [4, -1],
      [-4, 1],
    ]);
  });

  it("refuses documents that are missing, other, or of another length", () => {
    const refused = expect.objectContaining({ code: "artifact_corrupt" });
    expect(() => pairTasks([{ first, second: second.slice(1) }])).toThrow(refused);
    expect(() => pairTasks([{ first, second: second.map((own) => ({ ...own, tokens: 11 })) }])).toThrow(refused);
    expect(() => pairTasks([{ first, second: second.map((own) => ({ ...own, document: "a" })) }])).toThrow(refused);
  });
});
