import { describe, expect, it } from "vitest";
import { golden } from "./golden.fixture.js";
import { dot } from "./held-out.js";
import { slopeCoefficients, weightedLine } from "./weighted-line.js";

const { x, y, weights, ...expected } = golden.weightedLine;
const [xs, ys, ws] = [x, y, weights].map((values) => Float64Array.from(values)) as [
  Float64Array,
  Float64Array,
  Float64Array,
];

describe("the coefficients of a slope", () => {
  it("are NaN where all x are equal, to rounding, and whatever has no weight", () => {
    for (const x of [Math.log(12345), 7.3, 1e-3, 40]) {
      for (const weight of [0.1, 3, 1e5 / 3]) {
        const found = slopeCoefficients(
          Float64Array.of(x, x, 2, x),
          Float64Array.of(weight, weight / 7, 0, 1.7 * weight),
        );
        expect(found.every(Number.isNaN)).toBe(true);
      }
    }
    expect(slopeCoefficients(Float64Array.of(1, 1 + 1e-9), Float64Array.of(1, 1)).every(Number.isFinite)).toBe(true);
  });
});

describe("weightedLine", () => {
  it("is statsmodels' WLS", () => {
    const found = weightedLine(xs, ys, ws);
    for (const key of ["slope", "intercept", "standardError", "degreesOfFreedom"] as const)
      expect(found[key]).toBeCloseTo(expected[key], 9);
    expect(found.p).toBeCloseTo(expected.p, 6);
  });

  it("has a slope that is linear in y, and does not see its level", () => {
    const coefficients = slopeCoefficients(xs, ws);
    expect(dot(coefficients, ys)).toBeCloseTo(expected.slope, 12);
    expect(dot(coefficients, new Float64Array(x.length).fill(7))).toBeCloseTo(0, 12);
  });
});
