import { BoraError, type DocumentRow } from "@bora/contracts";
import { compare } from "./tau-order.js";

/** The documents of one task: from `begin` to before `end`. */
export interface TaskSpan {
  name: string;
  begin: number;
  end: number;
}

/** One fit's nats. */
export interface ScoredRun {
  trial: string;
  tau: number;
  seed: number;
  nats: Float64Array; // [document]
}

/** One split's documents, the same for all runs, in order of task and document name, whatever order they came in. */
export interface HeldOut {
  tasks: readonly TaskSpan[];
  tokens: Float64Array; // scored, [document]
  runs: readonly ScoredRun[]; // by tau, then seed
}

const key = ({ task, document }: DocumentRow): string => JSON.stringify([task, document]);

const byName = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

const unpaired = (split: string, what: string): BoraError =>
  new BoraError("artifact_corrupt", `two trials did not score the same ${split} documents: ${what}`, {
    hint: "one of them is of other data: retry the older one",
  });

function spans(sorted: readonly DocumentRow[]): TaskSpan[] {
  const tasks: TaskSpan[] = [];
  for (const [index, { task }] of sorted.entries()) {
    const last = tasks.at(-1);
    if (last?.name === task) last.end = index + 1;
    else tasks.push({ name: task, begin: index, end: index + 1 });
  }
  return tasks;
}

/** Nats in the order of `reference`. Throws artifact_corrupt unless the rows are those documents, of as many tokens. */
function aligned(reference: readonly DocumentRow[], rows: readonly DocumentRow[], split: string): Float64Array {
  const own = new Map(rows.map((row) => [key(row), row]));
  if (own.size !== rows.length || own.size !== reference.length)
    throw unpaired(split, `${own.size} different ones of ${rows.length}, and ${reference.length}`);
  return Float64Array.from(reference, (document) => {
    const row = own.get(key(document));
    if (row?.tokens !== document.tokens)
      throw unpaired(split, `${key(document)} with ${document.tokens} and ${row?.tokens ?? "no"} tokens`);
    return row.nats;
  });
}

/**
 * What trials scored on one split with their task adapters, lined up document by document. Throws artifact_corrupt
 * unless all trials scored the same documents over the same tokens.
 */
export function heldOut(rows: readonly DocumentRow[], split: DocumentRow["split"]): HeldOut {
  const trials = new Map<string, DocumentRow[]>();
  for (const row of rows) {
    if (row.split !== split || row.model !== "task") continue;
    const own = trials.get(row.trial);
    if (own === undefined) trials.set(row.trial, [row]);
    else own.push(row);
  }
  const [first = []] = trials.values();
  const reference = first.toSorted((a, b) => byName(a.task, b.task) || byName(a.document, b.document));
  const runs = [...trials].map(([trial, own]) => ({
    trial,
    tau: own[0]?.tau ?? NaN,
    seed: own[0]?.seed ?? NaN,
    nats: aligned(reference, own, split),
  }));
  return {
    tasks: spans(reference),
    tokens: Float64Array.from(reference, ({ tokens }) => tokens),
    runs: runs.toSorted((a, b) => compare(a.tau, b.tau) || a.seed - b.seed || byName(a.trial, b.trial)),
  };
}

/**
 * Nats of the first tau minus nats of the second for every seed that both have, [seed][document]: runs pair by seed.
 */
export function seedDifferences({ runs }: HeldOut, first: number, second: number): Float64Array[] {
  const others = runs.filter(({ tau }) => tau === second);
  return runs
    .filter(({ tau }) => tau === first)
    .flatMap(({ seed, nats }) => {
      const other = others.find((candidate) => candidate.seed === seed);
      return other === undefined ? [] : [nats.map((value, document) => value - (other.nats[document] ?? NaN))];
    });
}

/** Nats per token of each task, [task]. */
export const taskRates = ({ tasks, tokens }: Pick<HeldOut, "tasks" | "tokens">, nats: Float64Array): Float64Array =>
  Float64Array.from(tasks, ({ begin, end }) => total(nats, begin, end) / total(tokens, begin, end));

export function total(values: ArrayLike<number>, begin = 0, end = values.length): number {
  let sum = 0;
  for (let index = begin; index < end; index += 1) sum += values[index] ?? NaN;
  return sum;
}

/** Sum of products, of as many as `a` has. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < a.length; index += 1) sum += (a[index] ?? NaN) * (b[index] ?? NaN);
  return sum;
}

/** The documents of one task alone. */
export function ofTask({ tasks, tokens, runs }: HeldOut, task: number): HeldOut {
  const { name, begin, end } = tasks[task] ?? { name: "", begin: 0, end: 0 };
  return {
    tasks: [{ name, begin: 0, end: end - begin }],
    tokens: tokens.subarray(begin, end),
    runs: runs.map((run) => ({ ...run, nats: run.nats.subarray(begin, end) })),
  };
}
