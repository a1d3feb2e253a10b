import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { total, type HeldOut } from "./held-out.js";

export interface Resampling {
  resamples: number;
  seed: number;
}

/** A sum over tasks of weight times nats per token; weights of 1 / tasks give macro nats per token. */
export interface TaskSum {
  nats: Float64Array; // [document]; of a run, or the difference of two
  weights: Float64Array; // [task]
}

type Draw = (below: number) => number;

/** Whole numbers below a bound. Multiply and shift: off from uniform by less than bound / 2^32, and no division. */
function draws(seed: number, stream: number): Draw {
  const generator = xoroshiro128plus(seed);
  for (let jump = 0; jump < stream; jump += 1) generator.jump(); // 2^64 draws ahead: streams never meet
  return (below) => Math.floor(((generator.next() >>> 0) / 4294967296) * below);
}

const streams = { documents: 0, seeds: 1, tasks: 2 } as const;

/** How often each of `units` was drawn in each of many draws of as many with replacement: [resample * units + unit]. */
function multiplicities(units: number, { resamples, seed }: Resampling, stream: number): Uint16Array {
  const draw = draws(seed, stream);
  const counts = new Uint16Array(resamples * units);
  for (let resample = 0; resample < resamples; resample += 1)
    for (let drawn = 0; drawn < units; drawn += 1) {
      const place = resample * units + draw(units);
      counts[place] = (counts[place] ?? 0) + 1;
    }
  return counts;
}

export const seedMultiplicities = (seeds: number, options: Resampling): Uint16Array =>
  multiplicities(seeds, options, streams.seeds);

export const taskMultiplicities = (tasks: number, options: Resampling): Uint16Array =>
  multiplicities(tasks, options, streams.tasks);

/** sum of counts[i] * values[begin + i] */
function weighted(counts: Uint16Array, values: Float64Array, begin: number): number {
  let sum = 0;
  for (let index = 0; index < counts.length; index += 1) sum += (counts[index] ?? 0) * (values[begin + index] ?? 0);
  return sum;
}

/**
 * The sums under resamples of documents within their tasks, as many as a task has, with replacement: [sum][resample].
 * Every resample's weights (multinomial) are drawn once and apply to all sums, which is what pairs them; they depend on
 * the seed and the number of documents alone, not on which sums there are or in which order.
 */
export function resampleDocuments(
  { tasks, tokens }: Pick<HeldOut, "tasks" | "tokens">,
  sums: readonly TaskSum[],
  { resamples, seed }: Resampling,
): Float64Array[] {
  const draw = draws(seed, streams.documents);
  const replicates = sums.map(() => new Float64Array(resamples));
  for (const [task, { begin, end }] of tasks.entries()) {
    const counts = new Uint16Array(end - begin);
    for (let resample = 0; resample < resamples; resample += 1) {
      counts.fill(0);
      for (let drawn = begin; drawn < end; drawn += 1) {
        const place = draw(counts.length);
        counts[place] = (counts[place] ?? 0) + 1;
      }
      const scale = 1 / weighted(counts, tokens, begin);
      for (const [index, { nats, weights }] of sums.entries()) {
        const own = replicates[index];
        if (own !== undefined)
          own[resample] = (own[resample] ?? 0) + (weights[task] ?? NaN) * weighted(counts, nats, begin) * scale;
      }
    }
  }
  return replicates;
}

/** The mean over seeds of replicates, [seed][resample], each resample with the seeds drawn for it. */
export function resampleSeeds(bySeed: readonly Float64Array[], options: Resampling): Float64Array {
  const [only] = bySeed;
  if (bySeed.length === 1 && only !== undefined) return only;
  const counts = seedMultiplicities(bySeed.length, options);
  return Float64Array.from({ length: options.resamples }, (_, resample) => {
    let sum = 0;
    for (const [seed, own] of bySeed.entries())
      sum += (counts[resample * bySeed.length + seed] ?? NaN) * (own[resample] ?? NaN);
    return sum / bySeed.length;
  });
}

/** Mean. */
export const mean = (values: ArrayLike<number>): number => total(values) / values.length;
