import { describe, expect, it } from "vitest";
import { golden, laidOut } from "./golden.fixture.js";
import { acceleration, centre, spread, withoutDocument, withoutValue } from "./jackknife.js";

const ones = (values: readonly number[]) => ({ tokens: values.map(() => 1), nats: [...values] });

describe("jackknife", () => {
  it("has the standard error and degrees of freedom of Welch's t for two tasks of equal documents", () => {
    const { tasks, difference, standardError, degreesOfFreedom } = golden.welch;
    const shape = laidOut(tasks.map(ones));
    const left = centre(withoutDocument(shape, shape.nats, Float64Array.of(0.5, 0.5)), shape.tasks);
    const found = spread({ strata: shape.tasks, bySeed: [left] }, Float64Array.of(difference));
    expect(found.standardError).toBeCloseTo(standardError, 10);
    expect(found.degreesOfFreedom).toBeCloseTo(degreesOfFreedom, 8);
  });

  it("has the two-way moments' variance where seeds and documents are crossed", () => {
    const { y, standardError, degreesOfFreedom } = golden.twoWay;
    const shapes = y.map((seed) => laidOut([ones(seed)]));
    const strata = shapes[0]?.tasks ?? [];
    const bySeed = shapes.map((shape) => centre(withoutDocument(shape, shape.nats, Float64Array.of(1)), strata));
    const estimates = Float64Array.from(y, (seed) => seed.reduce((sum, value) => sum + value, 0) / seed.length);
    const found = spread({ strata, bySeed }, estimates);
    expect(found.standardError).toBeCloseTo(standardError, 10);
    expect(found.degreesOfFreedom).toBeCloseTo(degreesOfFreedom, 8);
  });

  it("never says less than seeds or documents alone", () => {
    const opposed = [1, -1].map((sign) => Float64Array.of(sign, -sign, sign, -sign)); // nothing but interaction
    const strata = [{ begin: 0, end: 4 }];
    const apart = spread({ strata, bySeed: opposed }, Float64Array.of(0, 1));
    expect(apart.standardError).toBeCloseTo(Math.sqrt(0.5 / 2), 12); // of the seeds' means alone
  });

  it("has SciPy's acceleration", () => {
    const shape = laidOut(golden.bootstrap.tasks);
    const weights = new Float64Array(shape.tasks.length).fill(1 / shape.tasks.length);
    const left = centre(withoutDocument(shape, shape.nats, weights), shape.tasks);
    expect(acceleration({ strata: shape.tasks, bySeed: [left] })).toBeCloseTo(golden.bootstrap.acceleration, 10);
  });

  it("sees nothing in a task of one document", () => {
    const shape = laidOut([ones([3]), ones([1, 2, 6])]);
    const left = centre(withoutDocument(shape, shape.nats, Float64Array.of(0.5, 0.5)), shape.tasks);
    expect(left[0]).toBe(0);
    const alone = laidOut([ones([1, 2, 6])]);
    const one = centre(withoutDocument(alone, alone.nats, Float64Array.of(0.5)), alone.tasks);
    expect(spread({ strata: shape.tasks, bySeed: [left] }, Float64Array.of(0))).toEqual(
      spread({ strata: alone.tasks, bySeed: [one] }, Float64Array.of(0)),
    );
  });

  it("of a mean leaves one value out", () => {
    expect([...withoutValue(Float64Array.of(1, 2, 6))]).toEqual([4, 3.5, 1.5]);
  });
});
