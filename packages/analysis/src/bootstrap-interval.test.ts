import { describe, expect, it } from "vitest";
import {
  biasCorrection,
  interval,
  noShift,
  quantile,
  shifted,
  stretchTo,
  twoSidedP,
  type Bootstrap,
} from "./bootstrap-interval.js";
import { studentQuantile, studentTwoSided } from "./distributions.js";
import { golden, laidOut } from "./golden.fixture.js";
import { resampleDocuments } from "./resampling.js";

const { estimate, replicates, acceleration } = golden.bootstrap;
const sorted = Float64Array.from(replicates).toSorted();
const asDrawn = (): number => 1;
const shift = { bias: biasCorrection(estimate, sorted), acceleration };

describe("an interval of SciPy's replicates", () => {
  it("is SciPy's percentile interval", () => {
    const found = interval({ estimate, sorted, shift: noShift, stretch: asDrawn }, 0.05);
    for (const [side, bound] of found.entries())
      expect(bound).toBeCloseTo(golden.bootstrap.percentile[side] ?? NaN, 10);
  });

  it("is SciPy's BCa interval, at its fractions", () => {
    expect(shifted(0.025, shift)).toBeCloseTo(golden.bootstrap.fractions[0], 10);
    expect(shifted(0.975, shift)).toBeCloseTo(golden.bootstrap.fractions[1], 10);
    const found = interval({ estimate, sorted, shift, stretch: asDrawn }, 0.05);
    for (const [side, bound] of found.entries()) expect(bound).toBeCloseTo(golden.bootstrap.bca[side] ?? NaN, 10);
  });
});

describe("an interval of own replicates", () => {
  const shape = laidOut(golden.bootstrap.tasks);
  const weights = new Float64Array(shape.tasks.length).fill(1 / shape.tasks.length);
  const [own = new Float64Array()] = resampleDocuments(shape, [{ nats: shape.nats, weights }], {
    resamples: golden.bootstrap.ownResamples,
    seed: 0,
  }).map((drawn) => drawn.toSorted());

  it.each([
    ["percentile", noShift, golden.bootstrap.percentileBands],
    ["BCa", { bias: biasCorrection(estimate, own), acceleration }, golden.bootstrap.bcaBands],
  ] as const)("agrees with SciPy's %s interval within the Monte Carlo error", (_, by, bands) => {
    const found = interval({ estimate, sorted: own, shift: by, stretch: asDrawn }, 0.05);
    for (const [side, bound] of found.entries()) {
      const [low = NaN, high = NaN] = bands[side] ?? [];
      expect(bound).toBeGreaterThan(low);
      expect(bound).toBeLessThan(high);
    }
  });

  it("vary as SciPy's do", () => {
    const middle = own.reduce((sum, value) => sum + value, 0) / own.length;
    const variance = own.reduce((sum, value) => sum + (value - middle) ** 2, 0) / own.length;
    expect(Math.sqrt(variance) / golden.bootstrap.standardErrorOfReplicates).toBeCloseTo(1, 1.5);
  });
});

describe("quantiles", () => {
  it("lie between neighbours linearly, the ends at the ends", () => {
    const four = Float64Array.of(1, 2, 4, 8);
    expect([0, 0.5, 0.9, 1].map((fraction) => quantile(four, fraction))).toEqual([1, 3, expect.closeTo(6.8, 12), 8]);
  });
});

describe("bias correction", () => {
  it("is 0 in the middle, counts equals half, and stays finite outside", () => {
    expect(biasCorrection(2.5, Float64Array.of(1, 2, 3, 4))).toBeCloseTo(0, 12);
    expect(biasCorrection(2, Float64Array.of(1, 2, 2, 3))).toBeCloseTo(0, 12);
    expect(biasCorrection(9, Float64Array.of(1, 2, 3, 4))).toBeCloseTo(1.1503, 4); // of 1 - 1/8
    expect(biasCorrection(0, Float64Array.of(1, 2, 3, 4))).toBeCloseTo(-1.1503, 4);
  });

  it("past the pole of the acceleration takes the last replicate", () => {
    expect(shifted(0.999, { bias: 0, acceleration: 0.4 })).toBe(1);
    expect(shifted(0.001, { bias: 0, acceleration: -0.4 })).toBe(0);
  });
});

/** Replicates that are normal quantiles: the bootstrap of a mean, without its noise. */
const normalReplicates = (middle: number, error: number): Float64Array =>
  Float64Array.from({ length: 9_999 }, (_, index) => middle + error * studentQuantile((index + 1) / 10_000, 1e9));

describe("stretching", () => {
  it("turns normal replicates that vary too little into Student's t interval", () => {
    const narrow = normalReplicates(0.3, 0.1 * Math.sqrt(5 / 6));
    const stretch = stretchTo({ standardError: 0.1, degreesOfFreedom: 5 }, narrow);
    const [low, high] = interval({ estimate: 0.3, sorted: narrow, shift: noShift, stretch }, 0.05);
    expect(high - 0.3).toBeCloseTo(0.1 * studentQuantile(0.975, 5), 3);
    expect(low + high).toBeCloseTo(0.6, 10);
  });

  it("leaves replicates without any difference as they are", () => {
    const stretch = stretchTo({ standardError: 0, degreesOfFreedom: NaN }, new Float64Array(50).fill(2));
    expect(stretch(0.05)).toBe(1);
  });
});

describe("the two-sided p", () => {
  const of = (middle: number): Bootstrap => {
    const drawn = normalReplicates(middle, 1);
    const stretch = stretchTo({ standardError: 1, degreesOfFreedom: 12 }, drawn);
    return { estimate: middle, sorted: drawn, shift: noShift, stretch };
  };

  it.each([0.4, -1.3, 2.1, -2.9])("is that of t for normal replicates at %d standard errors", (t) => {
    const twoSided = studentTwoSided(t, 12);
    expect(twoSidedP(of(t)) / twoSided).toBeCloseTo(1, 1.5);
  });

  it("is below .05 exactly where the 95 % interval leaves 0 out", () => {
    for (const scale of [0.2, 0.8, 0.95, 1.05, 1.3, 3]) {
      const shiftedBy = sorted.map((value) => value + scale * 0.1 - estimate);
      const bootstrap = { estimate: scale * 0.1, sorted: shiftedBy, shift, stretch: asDrawn };
      const [low, high] = interval(bootstrap, 0.05);
      expect(twoSidedP(bootstrap) < 0.05).toBe(low > 0 || high < 0);
    }
  });

  it("goes from 1 without a difference to the least that the replicates can show", () => {
    expect(twoSidedP(of(0))).toBe(1);
    expect(twoSidedP(of(40))).toBe(2 / 10_000);
    expect(twoSidedP({ ...of(0), sorted: new Float64Array(99).fill(0), stretch: asDrawn })).toBe(1);
  });
});
