import { describe, expect, it } from "vitest";
import { sizedStudy, type Scenario } from "./coverage.fixture.js";
import { gainBySize } from "./gain-by-size.js";
import { laidOut } from "./golden.fixture.js";
import type { HeldOut } from "./held-out.js";

const scenario: Scenario = {
  documents: [20, 25, 30, 35, 40, 45],
  seeds: 1,
  about: "these tasks",
  betweenTasks: 0,
  betweenSeeds: 0,
  betweenTasksAndSeeds: 0,
  tail: "normal",
};
const taus = { first: 1, second: 0 };
const options = { resamples: 1000 };

/** Two taus whose nats differ by the given ones. */
function data(tasks: readonly { tokens: readonly number[]; nats: readonly number[] }[]): HeldOut {
  const { nats, ...shape } = laidOut(tasks);
  const run = (tau: number, own: Float64Array) => ({ trial: `${tau}`, tau, seed: 0, nats: own });
  return {
    ...shape,
    runs: [
      run(
        0,
        nats.map(() => 0),
      ),
      run(1, nats),
    ],
  };
}

describe("gain against training size", () => {
  it("has each task's difference and standard error, and the line through them", () => {
    // Documents of one length: the standard error is that of a mean, over tokens.
    const tasks = [1, 2, 3, 4].map((size) => ({ tokens: [10, 10, 10], nats: [size - 1, size, size + 1] }));
    const found = gainBySize(
      data(tasks),
      taus,
      new Map([1, 2, 3, 4].map((size) => [`task ${size - 1}`, Math.exp(size)])),
      options,
    );
    expect(found?.tasks.map((own) => own.difference)).toEqual([0.1, 0.2, 0.3, 0.4].map((x) => expect.closeTo(x, 12)));
    for (const own of found?.tasks ?? []) expect(own.standardError).toBeCloseTo(0.1 / Math.sqrt(3), 12);
    expect(found?.line.slope).toBeCloseTo(0.1, 12);
    expect(found?.line.intercept).toBeCloseTo(0, 12);
    expect(found?.rank).toEqual({ rho: 1, p: 2 / 24, method: "exact" });
    expect(found?.slope.difference).toBeCloseTo(0.1, 12);
    expect(found?.slope.low).toBeLessThan(0.1);
    expect(found?.slope.high).toBeGreaterThan(0.1);
  });

  it("leaves tasks out that cannot be weighed, and says which", () => {
    const tasks = [
      ...[1, 2, 3, 4].map((size) => ({ tokens: [10, 10, 10], nats: [size - 1, size, size + 1] })),
      { tokens: [10], nats: [5] },
      { tokens: [10, 20], nats: [1, 2] },
    ];
    const sizes = new Map(tasks.map((_, task) => [`task ${task}`, Math.exp(task + 1)]));
    const found = gainBySize(data(tasks), taus, sizes, options);
    expect(found?.leftOut).toEqual(["task 4", "task 5"]);
    expect(found?.line.slope).toBeCloseTo(0.1, 12);
    expect(found).toEqual({ ...gainBySize(data(tasks.slice(0, 4)), taus, sizes, options), leftOut: found?.leftOut });
  });

  it("leaves a task of one document out whatever the seeds, whose scatter is not its error", () => {
    const tasks = [
      ...[1, 2, 3, 4].map((size) => ({ tokens: [10, 10, 10], nats: [size - 1, size, size + 1] })),
      { tokens: [10], nats: [5] },
    ];
    const one = data(tasks);
    const runs = [0, 1, 2].flatMap((seed) =>
      one.runs.map((run) => ({
        ...run,
        trial: `${run.trial} ${seed}`,
        seed,
        nats: run.nats.map((x) => x * (1 + seed / 9)),
      })),
    );
    const sizes = new Map(tasks.map((_, task) => [`task ${task}`, Math.exp(task + 1)]));
    expect(gainBySize({ ...one, runs }, taus, sizes, options)?.leftOut).toEqual(["task 4"]);
  });

  it("does not collapse for few new tasks, of which a draw may hold one size alone", () => {
    const { data: own, trainTokens } = sizedStudy({ ...scenario, documents: [20, 25, 30, 35], betweenTasks: 0.3 }, 1);
    const sizes = new Map([...trainTokens.keys()].map((name, task) => [name, [1000, 1000, 2000, 5000][task] ?? NaN]));
    const found = gainBySize(own, taus, sizes, { ...options, about: "new tasks" })?.slope;
    const width = (found?.high ?? NaN) - (found?.low ?? NaN);
    expect(width).toBeGreaterThan(2 * (found?.standardError ?? NaN));
    expect(width).toBeLessThan(30 * (found?.standardError ?? NaN));
  });

  it("is undefined below four tasks, of too few sizes, and of taus without a common seed", () => {
    const { data: own, trainTokens } = sizedStudy(scenario, 0);
    const three = [...trainTokens].map(([name, size], task) => [name, task < 3 ? size : 0] as const);
    expect(gainBySize(own, taus, new Map(three), options)).toBeUndefined();
    const alike = [...trainTokens.keys()].map((name, task) => [name, task < 1 ? 10 : 20] as const);
    expect(gainBySize(own, taus, new Map(alike), options)).toBeUndefined();
    expect(gainBySize(own, { first: 1, second: 7 }, trainTokens, options)).toBeUndefined();
  });

  it("is wider for new tasks where tasks scatter about the line", () => {
    const { data: own, trainTokens } = sizedStudy({ ...scenario, betweenTasks: 0.3 }, 1);
    const here = gainBySize(own, taus, trainTokens, options)?.slope;
    const anew = gainBySize(own, taus, trainTokens, { ...options, about: "new tasks" })?.slope;
    expect(anew?.difference).toBeCloseTo(here?.difference ?? NaN, 12);
    expect(anew?.standardError).toBeGreaterThan(1.5 * (here?.standardError ?? NaN));
    expect(anew).toMatchObject({ about: "new tasks", units: 6, degreesOfFreedom: expect.closeTo(4, 9) });
  });

  it("averages seeds, and widens where their slopes differ", () => {
    const { data: own, trainTokens } = sizedStudy(scenario, 2);
    const seeds = (spread: number): HeldOut => ({
      ...own,
      runs: [-1, 0, 1].flatMap((sign, seed) =>
        own.runs.map((run) => {
          const nats = run.nats.slice();
          for (const { name, begin, end } of own.tasks)
            for (let document = begin; run.tau === 1 && document < end; document += 1)
              nats[document] =
                (nats[document] ?? NaN) +
                sign * spread * Math.log(trainTokens.get(name) ?? NaN) * (own.tokens[document] ?? NaN);
          return { ...run, trial: `${run.trial} ${seed}`, seed, nats };
        }),
      ),
    });
    const agreed = gainBySize(seeds(0), taus, trainTokens, options)?.slope;
    const split = gainBySize(seeds(0.2), taus, trainTokens, options)?.slope;
    expect(agreed).toMatchObject({
      seeds: 3,
      difference: expect.closeTo(gainBySize(own, taus, trainTokens, options)?.line.slope ?? NaN, 12) as number,
    });
    expect(split?.standardError).toBeGreaterThan(0.2 / Math.sqrt(3));
    expect(agreed?.standardError).toBeLessThan(0.1);
  });
});
