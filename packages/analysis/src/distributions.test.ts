import { describe, expect, it } from "vitest";
import { normalCdf, normalQuantile, studentCdf, studentQuantile, studentTwoSided } from "./distributions.js";
import { golden } from "./golden.fixture.js";

// jstat: the normal to 10 digits, Student's t to 6.
describe("distributions agree with SciPy", () => {
  it.each(golden.distributions.normal)("normal at $p", ({ p, z }) => {
    expect(normalQuantile(p)).toBeCloseTo(z, 10);
    expect(normalCdf(z) / p).toBeCloseTo(1, 7);
  });

  it.each(golden.distributions.student)("Student's t at $p with $degreesOfFreedom", ({ p, degreesOfFreedom, t }) => {
    expect(studentQuantile(p, degreesOfFreedom) / t).toBeCloseTo(1, 5);
    expect(studentCdf(t, degreesOfFreedom) / p).toBeCloseTo(1, 5);
    expect(studentTwoSided(t, degreesOfFreedom)).toBeCloseTo(2 * Math.min(p, 1 - p), 6);
  });
});
