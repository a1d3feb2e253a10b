import { defaults, type Comparison, type ContrastOptions } from "./contrast.js";
import { seedDifferences, taskRates, type HeldOut } from "./held-out.js";
import { centre, spread, withoutDocument } from "./jackknife.js";
import { mean } from "./resampling.js";
import { slopeOfNewTasks, slopeOfTheseTasks } from "./slope.js";
import { spearman, type RankCorrelation } from "./spearman.js";
import { weightedLine, type WeightedLine } from "./weighted-line.js";

/**
 * A task's difference between two taus, nats per token, with the standard error of its held-out documents (and
 * seeds).
 */
export interface TaskGain {
  task: string;
  trainTokens: number;
  difference: number;
  standardError: number;
}

/** How the difference between two taus goes with the size of a task's training set. */
export interface GainBySize {
  tasks: TaskGain[]; // by name
  leftOut: string[]; // tasks that cannot be weighed: one held-out document, no difference in any, or no training tokens
  line: WeightedLine; // difference on ln(training tokens), weights 1 / standard error^2
  slope: Comparison; // `difference` is the line's slope: nats per token for e times the training tokens
  rank: RankCorrelation; // of training tokens and difference
}

/** Of each task alone, over its documents and the seeds. */
function standardErrors(data: HeldOut, differences: readonly Float64Array[]): number[] {
  const whole = new Float64Array(data.tasks.length).fill(1);
  const left = differences.map((nats) => centre(withoutDocument(data, nats, whole), data.tasks));
  const rates = differences.map((nats) => taskRates(data, nats));
  return data.tasks.map((stratum, task) => {
    const estimates = Float64Array.from(rates, (own) => own[task] ?? NaN);
    return spread({ strata: [stratum], bySeed: left }, estimates).standardError;
  });
}

function taskGains(
  data: HeldOut,
  differences: readonly Float64Array[],
  trainTokens: ReadonlyMap<string, number>,
): TaskGain[] {
  const rates = differences.map((nats) => taskRates(data, nats));
  const errors = standardErrors(data, differences);
  return data.tasks.map(({ name }, task) => ({
    task: name,
    trainTokens: trainTokens.get(name) ?? NaN,
    difference: mean(Float64Array.from(rates, (own) => own[task] ?? NaN)),
    standardError: errors[task] ?? NaN,
  }));
}

/** The documents of some tasks alone. */
function documentsOf(data: HeldOut, kept: readonly number[], nats: Float64Array): Float64Array {
  return Float64Array.from(kept.flatMap((task) => [...nats.subarray(data.tasks[task]?.begin, data.tasks[task]?.end)]));
}

function spansOf(data: HeldOut, kept: readonly number[]): HeldOut["tasks"] {
  let begin = 0;
  return kept.flatMap((task) => {
    const own = data.tasks[task];
    if (own === undefined) return [];
    const span = { name: own.name, begin, end: begin + own.end - own.begin };
    begin = span.end;
    return [span];
  });
}

/**
 * Whether small or large tasks gain from `first` over `second`: their difference on ln(training tokens), by a line
 * whose weights are 1 / standard error^2, and by rank. About these tasks the slope's interval holds what their
 * held-out documents leave open; about new tasks also how tasks scatter about the line. Undefined where the two taus
 * share no seed, or below four tasks that can be weighed, of three sizes.
 */
export function gainBySize(
  data: HeldOut,
  { first, second }: { first: number; second: number },
  trainTokens: ReadonlyMap<string, number>,
  options: Partial<ContrastOptions> = {},
): GainBySize | undefined {
  const chosen = { ...defaults, ...options };
  const differences = seedDifferences(data, first, second);
  if (differences.length === 0) return undefined;
  const all = taskGains(data, differences, trainTokens);
  const kept = all.flatMap((own, task) => {
    const { begin, end } = data.tasks[task] ?? { begin: 0, end: 0 };
    return end - begin > 1 && own.standardError > 0 && own.trainTokens > 0 ? [task] : [];
  });
  if (kept.length < 4) return undefined;
  const tasks = all.filter((_, task) => kept.includes(task));
  const sizes = tasks.map((own) => own.trainTokens);
  if (new Set(sizes).size < 3) return undefined;
  const column = (of: (own: TaskGain) => number) => Float64Array.from(tasks, of);
  const weighed = {
    tasks: spansOf(data, kept),
    tokens: documentsOf(data, kept, data.tokens),
    differences: differences.map((nats) => documentsOf(data, kept, nats)),
    x: column((own) => Math.log(own.trainTokens)),
    weights: column((own) => own.standardError ** -2),
  };
  return {
    tasks,
    leftOut: all.filter((_, task) => !kept.includes(task)).map(({ task }) => task),
    line: weightedLine(
      weighed.x,
      column((own) => own.difference),
      weighed.weights,
    ),
    slope: chosen.about === "new tasks" ? slopeOfNewTasks(weighed, chosen) : slopeOfTheseTasks(weighed, chosen),
    rank: spearman(
      sizes,
      tasks.map((own) => own.difference),
    ),
  };
}
