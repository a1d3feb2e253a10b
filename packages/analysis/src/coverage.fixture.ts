/** Data with a known truth, to count how often an interval holds it. */
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { interval, noShift } from "./bootstrap-interval.js";
import { compareContrasts, type About, type Comparison } from "./contrast.js";
import { gainBySize } from "./gain-by-size.js";
import type { TaskSpan } from "./held-out.js";
import { resampleDocuments, resampleSeeds } from "./resampling.js";

export interface Scenario {
  documents: readonly number[]; // held out, a task
  seeds: number;
  about: About;
  betweenTasks: number; // standard deviation of the tasks' true differences; nats per token
  betweenSeeds: number; // of a seed's shift of all tasks
  betweenTasksAndSeeds: number; // of a seed's shift of one task
  tail: "normal" | "heavy" | "skewed"; // of a document's own difference
}

/** Documents of a study and the true difference that its interval should hold. */
export interface Study {
  tasks: TaskSpan[];
  tokens: Float64Array;
  differences: Float64Array[]; // [seed][document]
  truth: number; // nats per token
}

const truth = -0.05;

/** Standard normal draws (Box and Muller). */
export function normals(seed: number): () => number {
  const generator = xoroshiro128plus(seed);
  for (let warm = 0; warm < 20; warm += 1) generator.next(); // neighbouring seeds begin alike
  const uniform = () => uniformFloat64(generator);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Of mean 0 and variance 1: Student's t with 5 degrees of freedom for heavy, a centred log-normal for skewed. */
function effect(next: () => number, tail: Scenario["tail"]): number {
  if (tail === "normal") return next();
  if (tail === "skewed") return (Math.exp(0.7 * next()) - Math.exp(0.245)) / Math.sqrt(Math.exp(0.98) - Math.exp(0.49));
  const squares = Array.from({ length: 5 }, next).reduce((sum, value) => sum + value * value, 0);
  return (next() / Math.sqrt(squares / 5)) * Math.sqrt(3 / 5);
}

/**
 * Two models on documents of log-normal length (heavy-tailed: the longest of 100 has about six times the mean).
 * Both share a document's difficulty, so their nats are strongly correlated; what differs are the task's and the seed's
 * true difference, a document's own (the same for all seeds) and, for every seed, rounding noise of the training.
 */
export function study(scenario: Scenario, seed: number): Study {
  const next = normals(seed);
  const spans = scenario.documents.map((count, index, all) => {
    const begin = all.slice(0, index).reduce((sum, value) => sum + value, 0);
    return { name: `task ${index}`, begin, end: begin + count };
  });
  const ofTask = spans.map(() => truth + scenario.betweenTasks * next());
  const ofSeed = Array.from({ length: scenario.seeds }, () => scenario.betweenSeeds * next());
  const count = spans.at(-1)?.end ?? 0;
  const tokens = new Float64Array(count).map(() => Math.max(2, Math.round(60 * Math.exp(0.9 * next()))));
  const own = new Float64Array(count).map(() => 0.2 * effect(next, scenario.tail));
  const difficulty = new Float64Array(count).map(() => 3.5 + 0.5 * next());
  const differences = ofSeed.map((shift) => {
    const nats = new Float64Array(count);
    for (const [task, { begin, end }] of spans.entries()) {
      const rate = (ofTask[task] ?? NaN) + shift + scenario.betweenTasksAndSeeds * next();
      for (let document = begin; document < end; document += 1) {
        const length = tokens[document] ?? NaN;
        const second = length * (difficulty[document] ?? NaN);
        const first = second + length * (rate + (own[document] ?? NaN)) + 0.5 * Math.sqrt(length) * next();
        nats[document] = first - second;
      }
    }
    return nats;
  });
  const here = ofTask.reduce((sum, value) => sum + value, 0) / ofTask.length;
  return { tasks: spans, tokens, differences, truth: scenario.about === "new tasks" ? truth : here };
}

/** Line of the true differences of a study about gain and size: nats per token for e times the training tokens. */
const trueSlope = 0.02;

/** A study as `gainBySize` takes it: task d trained on tokens from 2,000 to 200,000, its true difference on a line. */
export function sizedStudy(scenario: Scenario, seed: number) {
  const own = study({ ...scenario, about: "these tasks" }, seed);
  const middle = (own.tasks.length - 1) / 2;
  const size = (task: number): number => 2e4 * 10 ** ((task - middle) / middle);
  const runs = own.differences.flatMap((nats, run) => {
    const sloped = new Float64Array(nats.length);
    for (const [task, { begin, end }] of own.tasks.entries())
      for (let document = begin; document < end; document += 1)
        sloped[document] = (nats[document] ?? NaN) + trueSlope * Math.log(size(task)) * (own.tokens[document] ?? NaN);
    return [
      { trial: `first ${run}`, tau: 1, seed: run, nats: sloped },
      { trial: `second ${run}`, tau: 0, seed: run, nats: new Float64Array(nats.length) },
    ];
  });
  const trainTokens = new Map(own.tasks.map(({ name }, task) => [name, size(task)]));
  return { data: { tasks: own.tasks, tokens: own.tokens, runs }, trainTokens, truth: trueSlope };
}

export interface Coverage {
  share: number; // of studies whose 95 % interval holds the truth
  below: number; // of studies whose interval lies wholly below it
  above: number;
  width: number; // mean
  method: Comparison["method"];
}

/** How often the 95 % interval of a study holds its truth. */
export function coverage(
  studies: number,
  conduct: (seed: number) => { found: Pick<Comparison, "low" | "high" | "method"> | undefined; truth: number },
): Coverage {
  let [below, above, width] = [0, 0, 0];
  let method: Comparison["method"] = "percentile";
  for (let seed = 0; seed < studies; seed += 1) {
    const { found, truth: held } = conduct(seed);
    if (found === undefined) throw new Error(`study ${seed} has no comparison`);
    if (found.high < held) below += 1;
    if (found.low > held) above += 1;
    width += found.high - found.low;
    method = found.method;
  }
  return {
    share: 1 - (below + above) / studies,
    below: below / studies,
    above: above / studies,
    width: width / studies,
    method,
  };
}

/** Of the macro difference. */
export const ofDifference =
  (scenario: Scenario, resamples: number, method?: Comparison["method"]) =>
  (seed: number): { found: Comparison | undefined; truth: number } => {
    const own = study(scenario, seed);
    const [found] = compareContrasts(own, [own], { about: scenario.about, resamples, seed, ...(method && { method }) });
    return { found, truth: own.truth };
  };

/** Of the macro difference by the plain percentile bootstrap, as it comes from the resamples, about these tasks. */
export const ofPlainBootstrap = (scenario: Scenario, resamples: number) => (seed: number) => {
  const own = study(scenario, seed);
  const weights = new Float64Array(own.tasks.length).fill(1 / own.tasks.length);
  const options = { resamples, seed };
  const sums = own.differences.map((nats) => ({ nats, weights }));
  const sorted = resampleSeeds(resampleDocuments(own, sums, options), options).toSorted();
  const [low, high] = interval({ estimate: 0, sorted, shift: noShift, stretch: () => 1 }, 0.05);
  return { found: { low, high, method: "percentile" as const }, truth: own.truth };
};

/** Of the slope of differences on the logarithm of training tokens. */
export const ofSlope =
  (scenario: Scenario, resamples: number) =>
  (seed: number): { found: Comparison | undefined; truth: number } => {
    const { data, trainTokens, truth: slope } = sizedStudy(scenario, seed);
    const options = { about: scenario.about, resamples, seed };
    return { found: gainBySize(data, { first: 1, second: 0 }, trainTokens, options)?.slope, truth: slope };
  };

const base: Scenario = {
  documents: [],
  seeds: 1,
  about: "these tasks",
  betweenTasks: 0.05,
  betweenSeeds: 0,
  betweenTasksAndSeeds: 0,
  tail: "heavy",
};
const many = [5, 8, 10, 12, 15, 20, 40, 60];
const small = [4, 6, 8, 12];

export const scenarios: Record<string, Scenario> = {
  "8 tasks, 5 to 60 documents": { ...base, documents: many },
  "8 tasks, 5 to 60 documents, skewed": { ...base, documents: many, tail: "skewed" },
  "25 tasks, 3 to 9 documents": { ...base, documents: Array.from({ length: 25 }, (_, task) => 3 + (task % 7)) },
  "4 tasks, 4 to 12 documents": { ...base, documents: small },
  "4 tasks, 4 to 12 documents, skewed": { ...base, documents: small, tail: "skewed" },
  "4 tasks, 4 to 12 documents, normal": { ...base, documents: small, tail: "normal" },
  "1 task, 20 documents": { ...base, documents: [20] },
  "3 seeds that agree": { ...base, documents: many, seeds: 3 },
  "3 seeds that differ little": { ...base, documents: many, seeds: 3, betweenSeeds: 0.015 },
  "3 seeds that differ": { ...base, documents: many, seeds: 3, betweenSeeds: 0.05 },
  "2 seeds that agree": { ...base, documents: many, seeds: 2 },
  "2 seeds that differ": { ...base, documents: many, seeds: 2, betweenSeeds: 0.05 },
  "5 seeds that differ": { ...base, documents: many, seeds: 5, betweenSeeds: 0.05, betweenTasksAndSeeds: 0.02 },
  "3 seeds that differ, 4 to 12 documents": { ...base, documents: small, seeds: 3, betweenSeeds: 0.05 },
  "8 new tasks": { ...base, documents: many, about: "new tasks" },
  "8 new tasks, 3 seeds": {
    ...base,
    documents: many,
    about: "new tasks",
    seeds: 3,
    betweenSeeds: 0.03,
    betweenTasksAndSeeds: 0.02,
  },
  "25 new tasks": { ...base, documents: Array.from({ length: 25 }, (_, task) => 3 + (task % 7)), about: "new tasks" },
  "60 new tasks": { ...base, documents: Array.from({ length: 60 }, (_, task) => 3 + (task % 7)), about: "new tasks" },
  "5 new tasks": { ...base, documents: [10, 12, 20, 30, 40], about: "new tasks" },
};

const mixed = Array.from({ length: 25 }, (_, task) => 6 + 4 * (task % 8));

export const slopes: Record<string, Scenario> = {
  "8 tasks": { ...base, documents: many, betweenTasks: 0 },
  "25 tasks": { ...base, documents: mixed, betweenTasks: 0 },
  "25 tasks, 3 seeds": {
    ...base,
    documents: mixed,
    betweenTasks: 0,
    seeds: 3,
    betweenSeeds: 0.03,
    betweenTasksAndSeeds: 0.02,
  },
  "8 new tasks": { ...base, documents: many, about: "new tasks" },
  "25 new tasks": { ...base, documents: mixed, about: "new tasks" },
  "60 new tasks": { ...base, documents: [...mixed, ...mixed, ...mixed.slice(0, 10)], about: "new tasks" },
};
