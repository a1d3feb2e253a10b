import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Curve } from "./curve.js";

const values = fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 400 });

function curveOf(points: readonly number[], capacity = 16): Curve {
  const curve = new Curve(capacity);
  points.forEach((value, step) => {
    curve.add(step, value);
  });
  return curve;
}

describe("a curve in bounded memory", () => {
  test("keeps the lowest and the highest value, and never more points than asked for", () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 2, max: 40 }), (points, most) => {
        const curve = curveOf(points);
        const shown = curve.extremes(most);
        expect(curve.size).toBeLessThanOrEqual(16);
        expect(shown.length).toBeLessThanOrEqual(most);
        const own = shown.map(({ value }) => value);
        expect([Math.min(...own), Math.max(...own)]).toEqual([Math.min(...points), Math.max(...points)]);
        for (const { step, value } of shown) expect(points[step]).toBe(value);
        const order = shown.map(({ step }) => step);
        expect(order).toEqual(order.toSorted((a, b) => a - b));
      }),
    );
  });

  test("has means that weigh every point once", () => {
    const curve = curveOf(Array.from({ length: 1024 }, (_, step) => step % 7));
    const means = curve.means(8);
    expect(means).toHaveLength(8);
    expect(means.at(-1)?.step).toBe(1023);
    const total = Array.from({ length: 1024 }, (_, step) => step % 7).reduce((sum, value) => sum + value, 0);
    expect(means.reduce((sum, { value }) => sum + value * 128, 0)).toBeCloseTo(total, 8);
  });

  test("leaves out what comes again, and what is not finite", () => {
    const curve = new Curve(16);
    for (const [step, value] of [
      [1, 5],
      [2, null],
      [3, NaN],
      [4, 4],
      [3, 9],
      [4, 9],
      [5, 3],
    ] as const)
      curve.add(step, value);
    expect(curve.extremes(16)).toEqual([
      { step: 1, value: 5 },
      { step: 4, value: 4 },
      { step: 5, value: 3 },
    ]);
  });

  test("reading it thinned changes nothing", () => {
    const curve = curveOf(Array.from({ length: 200 }, (_, step) => Math.sin(step)));
    const before = curve.extremes(32);
    curve.means(2);
    expect(curve.extremes(32)).toEqual(before);
  });
});
