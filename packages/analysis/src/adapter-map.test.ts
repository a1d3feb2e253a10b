import { describe, expect, it } from "vitest";
import { adapterMap } from "./adapter-map.js";
import { golden } from "./golden.fixture.js";

const { gram, points, explained } = golden.adapterMap;
const tasks = gram.map((_, index) => `task ${index}`);

describe("the map of adapters", () => {
  it("is the principal components that NumPy has of the changes themselves", () => {
    const found = adapterMap(tasks, gram);
    for (const [index, { task, x, y }] of found.points.entries()) {
      expect(task).toBe(tasks[index]);
      expect(x).toBeCloseTo(points[index]?.[0] ?? NaN, 9);
      expect(y).toBeCloseTo(points[index]?.[1] ?? NaN, 9);
    }
    expect(found.explained[0]).toBeCloseTo(explained[0] ?? NaN, 10);
    expect(found.explained[1]).toBeCloseTo(explained[1] ?? NaN, 10);
  });

  it("is the same about any common origin, and whatever order the tasks come in", () => {
    const offset = gram.map((_, index) => 3 * Math.cos(index)); // <dW_d - o, dW_e - o> for an o with these products
    const moved = gram.map((own, d) => own.map((value, e) => value - (offset[d] ?? 0) - (offset[e] ?? 0) + 11));
    const found = adapterMap(tasks, gram);
    for (const [index, { x, y }] of adapterMap(tasks, moved).points.entries()) {
      expect(x).toBeCloseTo(found.points[index]?.x ?? NaN, 9);
      expect(y).toBeCloseTo(found.points[index]?.y ?? NaN, 9);
    }
    const turned = adapterMap(
      tasks.toReversed(),
      gram.toReversed().map((own) => own.toReversed()),
    );
    for (const [index, { task, x }] of turned.points.toReversed().entries()) {
      expect(task).toBe(tasks[index]);
      expect(x).toBeCloseTo(found.points[index]?.x ?? NaN, 9);
    }
  });

  it("keeps distances of adapters that lie in a plane", () => {
    const plane = [
      [0, 0],
      [3, 0],
      [3, 1],
      [0, 1.5],
    ];
    const products = plane.map((a) => plane.map((b) => (a[0] ?? 0) * (b[0] ?? 0) + (a[1] ?? 0) * (b[1] ?? 0)));
    const found = adapterMap(["a", "b", "c", "d"], products);
    expect(found.explained[0] + found.explained[1]).toBeCloseTo(1, 12);
    for (const [i, a] of plane.entries())
      for (const [j, b] of plane.entries()) {
        const [p, q] = [found.points[i], found.points[j]];
        expect(Math.hypot((p?.x ?? 0) - (q?.x ?? 0), (p?.y ?? 0) - (q?.y ?? 0))).toBeCloseTo(
          Math.hypot((a[0] ?? 0) - (b[0] ?? 0), (a[1] ?? 0) - (b[1] ?? 0)),
          10,
        );
      }
  });

  it("has all adapters in one place, and nothing to explain, where they are the same or one alone", () => {
    const same = adapterMap(
      ["a", "b", "c"],
      [
        [4, 4, 4],
        [4, 4, 4],
        [4, 4, 4],
      ],
    );
    for (const { x, y } of same.points) expect(Math.hypot(x, y)).toBeLessThan(1e-6);
    expect(adapterMap(["a"], [[9]])).toEqual({ points: [{ task: "a", x: 0, y: 0 }], explained: [0, 0] });
  });
});
