import { describe, expect, it } from "vitest";
import { quantile } from "./bootstrap-interval.js";
import { laidOut } from "./golden.fixture.js";
import { resampleDocuments, resampleSeeds, seedMultiplicities, taskMultiplicities } from "./resampling.js";

const small = [
  { tokens: [4, 10, 7, 21], nats: [1, -3, 2, -9] },
  { tokens: [12, 5, 30], nats: [-4, 0.5, -6] },
];
const shape = laidOut(small);
const half = Float64Array.of(0.5, 0.5);

/** Every possible resample of every task: the bootstrap's exact distribution, slowly. */
function exactBootstrap(): number[] {
  const means = small.map(({ tokens, nats }) => {
    const n = tokens.length;
    return Array.from({ length: n ** n }, (_, code) => {
      const drawn = Array.from({ length: n }, (_, place) => Math.floor(code / n ** place) % n);
      const total = (values: readonly number[]) => drawn.reduce((sum, i) => sum + (values[i] ?? NaN), 0);
      return total(nats) / total(tokens);
    });
  });
  return means.reduce((sums, own) => sums.flatMap((sum) => own.map((value) => sum + value / small.length)), [0]);
}

describe("resampled documents", () => {
  it("have the quantiles of the exact distribution over all resamples", () => {
    const exact = exactBootstrap();
    expect(exact).toHaveLength(4 ** 4 * 3 ** 3);
    const [drawn] = resampleDocuments(shape, [{ nats: shape.nats, weights: half }], { resamples: 40_000, seed: 0 });
    const sorted = drawn?.toSorted() ?? new Float64Array();
    const share = (holds: (value: number) => boolean) => exact.filter(holds).length / exact.length;
    for (const fraction of [0.025, 0.2, 0.5, 0.9, 0.975]) {
      const error = 4 * Math.sqrt((fraction * (1 - fraction)) / 40_000);
      const bound = quantile(sorted, fraction);
      expect(share((value) => value < bound - 1e-12)).toBeLessThanOrEqual(fraction + error); // values repeat:
      expect(share((value) => value <= bound + 1e-12)).toBeGreaterThanOrEqual(fraction - error); // a quantile is a step
    }
  });

  it("carry the same weights whatever sums there are and in which order", () => {
    const options = { resamples: 50, seed: 3 };
    const one = { nats: shape.nats, weights: half };
    const other = { nats: shape.nats.map((value) => value * value), weights: Float64Array.of(1, 0) };
    const [alone] = resampleDocuments(shape, [one], options);
    expect(resampleDocuments(shape, [other, one], options)[1]).toEqual(alone);
    expect(resampleDocuments(shape, [one], { ...options, seed: 4 })[0]).not.toEqual(alone);
    const twice = { nats: shape.nats.map((value) => 2 * value), weights: half };
    const [first, second] = resampleDocuments(shape, [one, twice], options);
    for (const [index, value] of (second ?? []).entries()) expect(value).toBeCloseTo(2 * (first?.[index] ?? NaN), 12);
  });
});

describe("multiplicities", () => {
  it("hold as many draws as units, of equal chance, and other ones for seeds and tasks", () => {
    const counts = seedMultiplicities(4, { resamples: 5000, seed: 1 });
    const totals = [0, 0, 0, 0];
    for (let resample = 0; resample < 5000; resample += 1) {
      const own = counts.subarray(4 * resample, 4 * resample + 4);
      expect(own.reduce((sum, value) => sum + value, 0)).toBe(4);
      for (const [unit, value] of own.entries()) totals[unit] = (totals[unit] ?? 0) + value;
    }
    for (const total of totals) expect(Math.abs(total - 5000)).toBeLessThan(4 * Math.sqrt(20_000 * 0.25 * 0.75));
    expect(taskMultiplicities(4, { resamples: 5000, seed: 1 })).not.toEqual(counts);
  });
});

describe("resampled seeds", () => {
  it("average the drawn seeds' own replicates", () => {
    const options = { resamples: 200, seed: 2 };
    const bySeed = [0, 1, 2].map((level) => new Float64Array(200).fill(level));
    const counts = seedMultiplicities(3, options);
    const drawn = resampleSeeds(bySeed, options);
    for (const [resample, value] of drawn.entries())
      expect(value).toBeCloseTo(((counts[3 * resample + 1] ?? NaN) + 2 * (counts[3 * resample + 2] ?? NaN)) / 3, 12);
    expect(resampleSeeds(bySeed.slice(0, 1), options)).toBe(bySeed[0]);
  });
});
