import { biasCorrection, interval, noShift, stretchTo, twoSidedP } from "./bootstrap-interval.js";
import { dot, taskRates, type HeldOut } from "./held-out.js";
import { acceleration, centre, spread, withoutDocument, withoutValue, type Deviations } from "./jackknife.js";
import { mean, resampleDocuments, resampleSeeds, taskMultiplicities, type Resampling } from "./resampling.js";

/** What a difference is claimed for: the tasks at hand, or tasks like them that nobody has seen yet. */
export type About = "these tasks" | "new tasks";

export interface ContrastOptions extends Resampling {
  about: About;
  /** Left out: BCa below 50 units, percentile from there. */
  method?: "percentile" | "bca";
}
export const defaults: ContrastOptions = { about: "these tasks", resamples: 10_000, seed: 0 };

/** Below so many resampled units (documents, or tasks for a claim about new ones) the interval is BCa. */
const fewUnits = 50;

/** Two models on the same documents: nats of the first minus nats of the second, one array a seed, [seed][document]. */
export interface Contrast {
  differences: readonly Float64Array[];
  /** [task]; left out: 1 / tasks each, macro nats per token. Only for a claim about these tasks. */
  weights?: Float64Array;
}

/**
 * A difference in nats per token (first minus second: negative, the first is better) with its 95 % interval. Where
 * nothing could vary (one document in every task, one seed) the interval is all numbers and p is 1.
 */
export interface Comparison {
  difference: number;
  low: number;
  high: number;
  p: number; // two-sided, of no difference; below .05 exactly where the interval leaves 0 out
  standardError: number;
  degreesOfFreedom: number;
  method: "percentile" | "bca";
  about: About;
  seeds: number;
  units: number; // documents, or tasks
}

type Shape = Pick<HeldOut, "tasks" | "tokens">;

const macroWeights = (tasks: number): Float64Array => new Float64Array(tasks).fill(1 / tasks);

function deviations(shape: Shape, { differences, weights }: Required<Contrast>, about: About): Deviations {
  const strata = about === "new tasks" ? [{ begin: 0, end: shape.tasks.length }] : shape.tasks;
  const bySeed = differences.map((nats) =>
    about === "new tasks" ? withoutValue(taskRates(shape, nats)) : withoutDocument(shape, nats, weights),
  );
  return { strata, bySeed: bySeed.map((estimates) => centre(estimates, strata)) };
}

/** Tasks drawn with replacement, each with its documents as they are: [resample] of a seed's macro difference. */
function resampleTasks(rates: Float64Array, options: Resampling): Float64Array {
  const counts = taskMultiplicities(rates.length, options);
  return Float64Array.from({ length: options.resamples }, (_, resample) => {
    let sum = 0;
    for (const [task, rate] of rates.entries()) sum += (counts[resample * rates.length + task] ?? NaN) * rate;
    return sum / rates.length;
  });
}

/** For each contrast and seed its replicates, [contrast][seed][resample], under the same weights. */
function replicates(shape: Shape, contrasts: readonly Required<Contrast>[], options: ContrastOptions) {
  if (options.about === "new tasks")
    return contrasts.map(({ differences }) =>
      differences.map((nats) => resampleTasks(taskRates(shape, nats), options)),
    );
  const sums = contrasts.flatMap(({ differences, weights }) => differences.map((nats) => ({ nats, weights })));
  const drawn = resampleDocuments(shape, sums, options);
  return contrasts.map(({ differences }) => drawn.splice(0, differences.length));
}

/**
 * Compares pairs of models on the same documents (docs/statistics.md): seeds are drawn first where there are several,
 * then documents within tasks, or whole tasks for a claim about new ones; the same draws for every contrast and for
 * both of its sides. Seeded and independent of order: the same data give the same numbers.
 */
export function compareContrasts(
  shape: Shape,
  contrasts: readonly Contrast[],
  options: Partial<ContrastOptions> = {},
): Comparison[] {
  const chosen = { ...defaults, ...options };
  const complete = contrasts.map((contrast) => ({ weights: macroWeights(shape.tasks.length), ...contrast }));
  const drawn = replicates(shape, complete, chosen);
  return complete.map((contrast, index) => {
    const estimates = Float64Array.from(contrast.differences, (nats) => dot(taskRates(shape, nats), contrast.weights));
    return conclude(drawn[index] ?? [], estimates, deviations(shape, contrast, chosen.about), chosen);
  });
}

/** From a statistic's replicates, [seed][resample], its value by seed, and what leaving units out does to it. */
export function conclude(
  bySeed: readonly Float64Array[],
  estimates: Float64Array,
  left: Deviations,
  options: ContrastOptions,
): Comparison {
  const difference = mean(estimates);
  const units = left.bySeed[0]?.length ?? 0;
  const method = options.method ?? (units < fewUnits ? "bca" : "percentile");
  const found = { difference, method, about: options.about, seeds: estimates.length, units };
  // One unit says nothing of others: a new task from one task, whatever the seeds, or documents that stand alone.
  const alone = left.strata.every(({ begin, end }) => end - begin === 1);
  if (alone && (estimates.length === 1 || options.about === "new tasks"))
    return { ...found, low: -Infinity, high: Infinity, p: 1, standardError: Infinity, degreesOfFreedom: 0 };
  const sorted = resampleSeeds(bySeed, options).toSorted();
  const own = spread(left, estimates);
  const shift =
    method === "bca" ? { bias: biasCorrection(difference, sorted), acceleration: acceleration(left) } : noShift;
  const bootstrap = { estimate: difference, sorted, shift, stretch: stretchTo(own, sorted) };
  const [low, high] = interval(bootstrap, 0.05);
  return { ...found, low, high, p: twoSidedP(bootstrap), ...own };
}
