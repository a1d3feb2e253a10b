import { BoraError, type DocumentRow } from "@bora/contracts";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** A task's documents under two models: for each seed, nats of the first minus nats of the second. */
export interface PairedTask {
  tokens: readonly number[]; // scored, a document
  differences: readonly (readonly number[])[]; // nats; [seed][document]
}

export interface Interval {
  difference: number; // macro nats per token, first minus second
  low: number; // 95 %, percentile
  high: number;
}

export interface BootstrapOptions {
  resamples: number;
  seed: number;
}
const defaults: BootstrapOptions = { resamples: 10_000, seed: 0 };

const key = (row: DocumentRow): string => JSON.stringify([row.task, row.document]);

const unpaired = (what: string): BoraError =>
  new BoraError("artifact_corrupt", `two trials did not score the same test documents: ${what}`, {
    hint: "one of them is of other data: retry the older one",
  });

/** Test documents of two trials that share a seed. */
export interface SeedPair {
  first: readonly DocumentRow[];
  second: readonly DocumentRow[];
}

/** Pairs documents, task by task. Throws artifact_corrupt unless all trials scored the same ones over the same tokens. */
export function pairTasks(pairs: readonly SeedPair[]): PairedTask[] {
  const reference = new Map((pairs[0]?.first ?? []).map((row) => [key(row), row]));
  const aligned = pairs
    .flatMap(({ first, second }) => [first, second])
    .map((rows) => {
      const own = new Map(rows.map((row) => [key(row), row]));
      if (own.size !== reference.size) throw unpaired(`${own.size} and ${reference.size} documents`);
      return [...reference].map(([name, { tokens }]) => {
        const row = own.get(name);
        if (row?.tokens !== tokens) throw unpaired(`${name} with ${tokens} and ${row?.tokens ?? "no"} tokens`);
        return row.nats;
      });
    });
  const documents = [...reference.values()];
  return [...new Set(documents.map(({ task }) => task))].map((task) => {
    const own = documents.flatMap((row, index) => (row.task === task ? [index] : []));
    const differences = pairs.map((_, seed) =>
      own.map((index) => (aligned[2 * seed]?.[index] ?? NaN) - (aligned[2 * seed + 1]?.[index] ?? NaN)),
    );
    return { tokens: own.map((index) => documents[index]?.tokens ?? NaN), differences };
  });
}

const mean = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0) / values.length;

/** Nats per token between the two trials over some of a task's documents, averaged over some seeds. */
function taskDifference(task: PairedTask, seeds: readonly number[], documents: readonly number[]): number {
  let nats = 0;
  let tokens = 0;
  for (const document of documents) {
    tokens += task.tokens[document] ?? NaN;
    for (const seed of seeds) nats += task.differences[seed]?.[document] ?? NaN;
  }
  return nats / seeds.length / tokens;
}

const everyOne = (values: readonly unknown[]): number[] => values.map((_, index) => index);

/** Value at a fraction of sorted numbers, between neighbours linearly. */
function quantile(sorted: Float64Array, fraction: number): number {
  const at = fraction * (sorted.length - 1);
  const below = sorted[Math.floor(at)] ?? NaN;
  return below + (at - Math.floor(at)) * ((sorted[Math.ceil(at)] ?? NaN) - below);
}

/**
 * Difference of macro nats per token between two trials on the same documents, with its 95 % percentile interval
 * (docs/method.md, section 9): each resample draws as many documents as a task has, with replacement and within it, the
 * same ones for both trials; with several seeds it first draws seeds. Seeded: the same data give the same interval.
 */
export function pairedBootstrap(tasks: readonly PairedTask[], options: Partial<BootstrapOptions> = {}): Interval {
  const { resamples, seed } = { ...defaults, ...options };
  const generator = xoroshiro128plus(seed);
  const draw = (values: readonly unknown[]): number[] =>
    values.length === 1 ? [0] : values.map(() => uniformInt(generator, 0, values.length - 1));
  const allSeeds = everyOne(tasks[0]?.differences ?? []);
  const drawn = new Float64Array(resamples);
  for (let resample = 0; resample < resamples; resample += 1) {
    const seeds = draw(allSeeds);
    drawn[resample] = mean(tasks.map((task) => taskDifference(task, seeds, draw(task.tokens))));
  }
  drawn.sort();
  return {
    difference: mean(tasks.map((task) => taskDifference(task, allSeeds, everyOne(task.tokens)))),
    low: quantile(drawn, 0.025),
    high: quantile(drawn, 0.975),
  };
}
