import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareContrasts, type Comparison, type ContrastOptions } from "./contrast.js";
import { study, type Scenario } from "./coverage.fixture.js";
import { laidOut } from "./golden.fixture.js";

const small = laidOut([
  { tokens: [4, 10, 7, 21], nats: [1, -3, 2, -9] },
  { tokens: [12, 5, 30], nats: [-4, 0.5, -6] },
]);

type Shape = Parameters<typeof compareContrasts>[0];

function compare(shape: Shape, differences: readonly Float64Array[], options: Partial<ContrastOptions> = {}) {
  const [found] = compareContrasts(shape, [{ differences }], { resamples: 2000, ...options });
  return found as Comparison;
}

describe("a contrast", () => {
  it("has the point estimate mean over tasks of nats difference per token", () => {
    const found = compare(small, [small.nats]);
    expect(found.difference).toBeCloseTo((-9 / 42 + -9.5 / 47) / 2, 12);
    expect(found.low).toBeLessThan(found.difference);
    expect(found.high).toBeGreaterThan(found.difference);
    expect(found).toMatchObject({ about: "these tasks", method: "bca", units: 7, seeds: 1 });
  });

  it("says nothing of new tasks from one task, whatever the seeds", () => {
    const one = laidOut([{ tokens: [4, 10, 7, 21], nats: [1, -3, 2, -9] }]);
    const seeds = [one.nats, one.nats.map((value) => value + 1)];
    expect(compare(one, seeds, { about: "new tasks" })).toMatchObject({ low: -Infinity, high: Infinity, p: 1 });
    expect(compare(one, seeds).high).toBeLessThan(Infinity);
  });

  it("has no width and one degree of nothing where models agree everywhere", () => {
    const found = compare(small, [small.nats.map(() => 0)]);
    expect(found).toMatchObject({ low: 0, high: 0, standardError: 0, degreesOfFreedom: 0 });
  });

  it("is the same for the same seed, whatever is compared beside it, and another for another", () => {
    const others = [{ differences: [small.nats.map(Math.abs)] }, { differences: [small.nats] }];
    const found = compare(small, [small.nats]);
    expect(compareContrasts(small, others, { resamples: 2000 })[1]).toEqual(found);
    expect(compare(small, [small.nats], { seed: 1 }).low).not.toBe(found.low);
  });

  it("turns its sign with the two models, and has no width where every document agrees", () => {
    const documents = fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: -900, max: 900 }));
    fc.assert(
      fc.property(fc.array(documents, { minLength: 2, maxLength: 8 }), (pairs) => {
        const shape = laidOut([{ tokens: pairs.map(([count]) => count), nats: pairs.map(([, value]) => value / 100) }]);
        const options = { resamples: 300 } as const;
        const there = compare(shape, [shape.nats], options);
        const back = compare(shape, [shape.nats.map((value) => -value)], options);
        const size = 1e-9 * Math.max(1, Math.abs(there.low), Math.abs(there.high));
        expect(Math.abs(back.low + there.high)).toBeLessThan(size);
        expect(Math.abs(back.high + there.low)).toBeLessThan(size);
        expect(Math.abs(back.p - there.p)).toBeLessThan(1e-6);
        const even = compare(shape, [shape.tokens.map((count) => 0.25 * count)], options);
        expect([even.low, even.difference, even.high].map((x) => Math.round(x * 1e9) / 1e9)).toEqual([
          0.25, 0.25, 0.25,
        ]);
      }),
      { numRuns: 50 },
    );
  });

  it("is BCa below 50 documents, or below 50 tasks for a claim about new ones, and percentile from there", () => {
    const of = (tasks: number, documents: number) =>
      laidOut(
        Array.from({ length: tasks }, () => ({ tokens: Array<number>(documents).fill(9), nats: normal(documents) })),
      );
    const method = (shape: Shape & { nats: Float64Array }, options: Partial<ContrastOptions> = {}) =>
      compare(shape, [shape.nats], { resamples: 200, ...options }).method;
    expect(method(of(7, 7))).toBe("bca");
    expect(method(of(5, 10))).toBe("percentile");
    expect(method(of(5, 10), { about: "new tasks" })).toBe("bca");
    expect(method(of(50, 2), { about: "new tasks" })).toBe("percentile");
    expect(method(of(5, 10), { method: "bca" })).toBe("bca");
  });

  it("says so where nothing could vary", () => {
    const lone = laidOut([
      { tokens: [3], nats: [-2] },
      { tokens: [5], nats: [-4] },
    ]);
    expect(compare(lone, [lone.nats])).toMatchObject({ low: -Infinity, high: Infinity, p: 1, standardError: Infinity });
    expect(compare(lone, [lone.nats], { about: "new tasks" }).p).toBeLessThan(1); // two tasks differ
    const one = laidOut([{ tokens: [3, 3], nats: [-2, -3] }]);
    expect(compare(one, [one.nats], { about: "new tasks" })).toMatchObject({ low: -Infinity, p: 1 });
  });
});

/** Deterministic, of mean 0. */
const normal = (count: number): number[] => Array.from({ length: count }, (_, index) => Math.sin(7 * index + count));

describe("seeds", () => {
  const shape = laidOut([{ tokens: Array<number>(20).fill(10), nats: Array<number>(20).fill(0) }]);
  const level = (value: number) => new Float64Array(20).fill(value);

  it("widen the interval when they disagree", () => {
    const agreed = compare(shape, [level(2), level(2), level(2)]);
    const split = compare(shape, [level(0), level(2), level(4)]);
    expect(split.difference).toBeCloseTo(agreed.difference, 12);
    expect(agreed.high - agreed.low).toBeCloseTo(0, 12);
    expect(split.standardError).toBeCloseTo(0.2 / Math.sqrt(3), 12);
    expect(split.degreesOfFreedom).toBeCloseTo(2, 12);
    // Three seeds' own replicates reach from the lowest to the highest, 0.2 each way; Student's t with 2 goes further.
    expect(split.high - split.low).toBeGreaterThan(0.8);
  });

  it("make no difference in which order they come", () => {
    const [a, b, c] = [level(0), level(2), level(4)];
    const found = compare(shape, [a, b, c]);
    const turned = compare(shape, [c, b, a]);
    expect(turned.standardError).toBeCloseTo(found.standardError, 12);
    expect(turned.difference).toBeCloseTo(found.difference, 12);
  });
});

describe("a claim about new tasks", () => {
  it("is wider where tasks differ, and rests on the tasks alone", () => {
    const scenario: Scenario = {
      documents: Array<number>(12).fill(30),
      seeds: 1,
      about: "new tasks",
      betweenTasks: 0.3,
      betweenSeeds: 0,
      betweenTasksAndSeeds: 0,
      tail: "normal",
    };
    const own = study(scenario, 1);
    const here = compare(own, own.differences);
    const anew = compare(own, own.differences, { about: "new tasks" });
    expect(anew.difference).toBeCloseTo(here.difference, 12);
    expect(anew.high - anew.low).toBeGreaterThan(2 * (here.high - here.low));
    expect(anew).toMatchObject({ about: "new tasks", units: 12, degreesOfFreedom: expect.closeTo(11, 9) });
  });
});
