/**
 * How long comparisons take: 25 tasks of 150 documents, 10,000 resamples. After `npm run build`:
 *
 *     npx tsx packages/analysis/tools/speed.ts
 */
import { performance } from "node:perf_hooks";
import { study } from "../src/coverage.fixture.js";
import type { HeldOut } from "../src/held-out.js";
import { contrastTaus } from "../src/tau-contrasts.js";
import { chooseTau } from "../src/tau-choice.js";

const taus = [0, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, Infinity];

function sweep(seeds: number): HeldOut {
  const shape = { betweenTasks: 0.05, betweenSeeds: 0.02, betweenTasksAndSeeds: 0.02, tail: "heavy" } as const;
  const documents = Array<number>(25).fill(150);
  const runs = taus.map((_, index) => study({ ...shape, documents, seeds, about: "these tasks" }, index));
  return {
    tasks: runs[0]?.tasks ?? [],
    tokens: runs[0]?.tokens ?? new Float64Array(),
    runs: runs.flatMap(({ differences }, index) =>
      differences.map((nats, seed) => ({ trial: `${index} ${seed}`, tau: taus[index] ?? NaN, seed, nats })),
    ),
  };
}

function timed(what: string, work: () => unknown): void {
  const seconds = [0, 1, 2].map(() => {
    const begin = performance.now();
    work();
    return (performance.now() - begin) / 1000;
  });
  console.log(`${what.padEnd(60)} ${seconds.map((value) => value.toFixed(2)).join(", ")} s`);
}

const [one, three] = [sweep(1), sweep(3)];
timed("two trials", () => contrastTaus(one, 1e4, [0]));
timed("a tau against 7 others", () =>
  contrastTaus(
    one,
    1e4,
    taus.filter((tau) => tau !== 1e4),
  ),
);
timed("a tau against 7 others, 3 seeds", () =>
  contrastTaus(
    three,
    1e4,
    taus.filter((tau) => tau !== 1e4),
  ),
);
timed("a tau against 7 others, 3 seeds, for new tasks", () =>
  contrastTaus(
    three,
    1e4,
    taus.filter((tau) => tau !== 1e4),
    { about: "new tasks" },
  ),
);
timed("the choice among 8 taus with 3 seeds, and its test results", () => chooseTau(three, three));
