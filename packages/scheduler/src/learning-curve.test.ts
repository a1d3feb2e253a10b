import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lowest, mostPoints, noCurve, withPoint, type LearningCurve } from "./learning-curve.js";

type Point = readonly [step: number, nats: number];
const drawn = (points: readonly Point[], from: LearningCurve = noCurve): LearningCurve =>
  points.reduce((curve, [step, nats]) => withPoint(curve, step, nats) ?? curve, from);

/** Validation every so many steps, falling to its lowest at a step and rising again. */
const bowl = (evaluations: number, everySteps: number, best: number): Point[] =>
  Array.from({ length: evaluations }, (_, index) => {
    const step = (index + 1) * everySteps;
    return [step, 2 + Math.abs(step - best) / 1000] as const;
  });

describe("a learning curve", () => {
  it("is whole as long as it is short, by step", () => {
    const points = bowl(mostPoints, 10, 70);
    const curve = drawn(points);
    expect(curve).toEqual({
      steps: points.map(([step]) => step),
      natsPerToken: points.map(([, nats]) => nats),
      every: 1,
    });
    expect(drawn([[30, 1], [10, 3], [20, 2]]).steps).toEqual([10, 20, 30]); // prettier-ignore
  });

  it("has the first of equals as its lowest, and infinity when nothing was scored", () => {
    expect(lowest(drawn([[10, 3], [20, 1], [30, 1]]))).toBe(1); // prettier-ignore
    expect(lowest(noCurve)).toBe(Infinity);
  });

  it("does not grow with the length of training, and keeps the lowest, the newest and even steps between", () => {
    const curve = drawn(bowl(100_000, 10, 70));
    expect(curve.steps.length).toBeLessThanOrEqual(mostPoints);
    expect(curve.steps.length).toBeGreaterThan(mostPoints / 2 - 2);
    expect(curve.steps).toEqual(expect.arrayContaining([70, 1_000_000]));
    expect(lowest(curve)).toBe(2);
    const even = curve.steps.filter((step) => step % curve.every === 0);
    const gaps = new Set(even.slice(1).map((step, index) => step - (even[index] ?? 0)));
    expect(gaps.size).toBe(1);
  });

  it("is that of a run that was never resumed, however often steps are repeated", () => {
    const nats = fc.integer({ min: 1, max: 50 }); // with equals
    fc.assert(
      fc.property(
        fc.array(nats, { minLength: 1, maxLength: 1500 }),
        fc.integer({ min: 1, max: 30 }),
        fc.array(fc.tuple(fc.nat(1499), fc.nat(200)), { maxLength: 5 }),
        (values, everySteps, resumptions) => {
          const points = values.map((value, index): Point => [(index + 1) * everySteps, value]);
          let curve = noCurve;
          let seen = 0;
          for (const [to, back] of resumptions) {
            const until = Math.min(to, points.length);
            curve = drawn(points.slice(Math.max(0, seen - back), until), curve);
            seen = Math.max(seen, until);
          }
          curve = drawn(points.slice(seen), curve);
          expect(curve).toEqual(drawn(points));
        },
      ),
      { numRuns: 100 },
    );
  });
});
