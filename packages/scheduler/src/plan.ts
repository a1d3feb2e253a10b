import {
  BoraError,
  contentHash,
  folderHash,
  formatBytes,
  tauToJson,
  type ExperimentSpec,
  type Inspected,
  type Pack,
  type Plan,
} from "@bora/contracts";
import { packMemory, shareToFill } from "./memory.js";

export interface PlanLimits {
  memoryBytes: number; // free for one trainer; Infinity when unknown
  maxTrials?: number; // of a sweep, 10 000
}

/**
 * Trials and packs of an experiment; pure: the same experiment gives the same ids. Packs hold only trials that are not
 * in `finished`. Throws spec_invalid for too many trials or a pack.maxRows below one trial's rows, and out_of_memory when
 * not even one trial fits.
 */
export function plan(
  spec: ExperimentSpec,
  inspected: Inspected,
  limits: PlanLimits,
  finished: ReadonlySet<string> = new Set(),
): Plan {
  const count = spec.evaluate.adapters?.length ?? spec.prior.taus.length * spec.train.seeds.length;
  const { maxTrials = 10_000 } = limits;
  if (count > maxTrials)
    throw new BoraError("spec_invalid", `the grid has ${count} trials, at most ${maxTrials} are allowed`, {
      hint: "give fewer taus or seeds",
    });
  const trials = isEvaluation(spec) ? scoredAdapters(spec, inspected) : trialsOf(spec, inspected);
  const ids = trials.map(({ id }) => id);
  const sweepId = `${spec.name}-${contentHash({ name: spec.name, trials: [...ids].sort() }).slice(0, 8)}`;
  const left = ids.filter((id) => !finished.has(id));
  const packs = left.length === 0 ? [] : packsOf(left, trialsInPack(spec, inspected, limits.memoryBytes));
  return { sweepId, name: spec.name, trials, packs };
}

/** One trial for each seed and tau, taus ascending. Its id is everything that changes a number, hashed. */
function trialsOf(spec: ExperimentSpec, inspected: Inspected): Plan["trials"] {
  const { split } = spec.data;
  const { seeds, bestStep, ...train } = spec.train;
  const { family, tau0, mean } = spec.prior;
  const shared = {
    model: inspected.modelHash,
    dtype: spec.model.dtype,
    data: inspected.dataHash,
    split,
    adapter: spec.adapter,
    // What is said only where it is used leaves ids as they were before it existed.
    prior: {
      ...{ family, tau0 },
      ...(mean && { mean: { sha256: folderHash(spec, inspected, mean.path), fixed: mean.fixed } }),
    },
    train: { ...train, ...(bestStep !== "trial" && { bestStep }) },
    ...(spec.evaluate.float32Check && { evaluate: { float32Check: true } }),
  };
  const taus = [...spec.prior.taus].sort((a, b) => a - b);
  return seeds.flatMap((seed) =>
    taus.map((tau) => ({ id: contentHash({ ...shared, tau: tauToJson(tau), seed }).slice(0, 16), tau, seed })),
  );
}

/** Whether adapters that exist are scored and nothing is trained. */
export const isEvaluation = ({ evaluate }: ExperimentSpec): boolean => evaluate.adapters !== undefined;

/** One trial for each adapter to score, in their order; an adapter is one for all tasks, as at infinity. */
function scoredAdapters(spec: ExperimentSpec, inspected: Inspected): Plan["trials"] {
  const shared = {
    ...{ model: inspected.modelHash, dtype: spec.model.dtype, data: inspected.dataHash, split: spec.data.split },
  };
  return (spec.evaluate.adapters ?? []).map(({ name, path }) => {
    const scored = path === undefined ? "base" : folderHash(spec, inspected, path);
    return { id: contentHash({ ...shared, scored, name }).slice(0, 16), tau: Infinity, seed: 0 };
  });
}

/** How many trials one trainer can hold: each is a row for every task, beside the model and a micro-batch. */
function trialsInPack(spec: ExperimentSpec, inspected: Inspected, memoryBytes: number): number {
  const rows = inspected.tasks.length;
  const { maxRows = Infinity, maxTrials } = spec.pack;
  if (maxRows < rows)
    throw new BoraError("spec_invalid", `pack.maxRows is ${maxRows}, one trial has ${rows} rows (a row a task)`, {
      hint: `raise pack.maxRows to at least ${rows}`,
    });
  const fits = (trials: number) => packMemory(spec, inspected, trials).peak <= memoryBytes * shareToFill;
  if (!fits(1)) throw tooLarge(spec, inspected, memoryBytes);
  let trials = Math.floor(Math.min(maxTrials, maxRows / rows));
  while (!fits(trials)) trials -= 1;
  return trials;
}

function tooLarge(spec: ExperimentSpec, inspected: Inspected, memoryBytes: number): BoraError {
  const { process, base, fits, rows, saving, passing, peak, microBatchTokens } = packMemory(spec, inspected, 1);
  const parts = [
    `process ${formatBytes(process)}`,
    `model ${formatBytes(base)}`,
    `${inspected.tasks.length} adapter rows of ${formatBytes(inspected.bytesPerRow)} ${formatBytes(rows)}`,
    `Theta ${formatBytes(fits)}`,
    ...(saving > 0 ? [`a checkpoint's copy ${formatBytes(saving)}`] : []),
    `a micro-batch of ${microBatchTokens} tokens ${formatBytes(passing)}`,
  ];
  const free = `${shareToFill * 100} % of the ${formatBytes(memoryBytes)} that are free`;
  return new BoraError(
    "out_of_memory",
    `one trial alone takes ${formatBytes(peak)}, more than ${free}: ${parts.join(", ")}`,
    {
      hint:
        "lower adapter.rank, train.tokensPerTask or data.maxTokens, adapt fewer modules or layers, select fewer tasks, " +
        "or free some memory",
    },
  );
}

/** As few packs as can be, of nearly one size. */
function packsOf(trialIds: readonly string[], most: number): Pack[] {
  const packs = Math.ceil(trialIds.length / most);
  return Array.from({ length: packs }, (_, index) => {
    const from = Math.round((index * trialIds.length) / packs);
    const to = Math.round(((index + 1) * trialIds.length) / packs);
    return { id: `pack-${index + 1}`, trialIds: trialIds.slice(from, to) };
  });
}
