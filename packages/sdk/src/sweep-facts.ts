import { BoraError, formatTau, parseExperiment, type ExperimentSpec, type SweepResults } from "@bora/contracts";
import { foldSweep } from "@bora/scheduler";
import type { StoreReader } from "@bora/store";
import { usableResults, sweepFolder } from "./out-folder.js";

export interface TrialFacts {
  id: string;
  tau: number;
  seed: number;
  state: string;
  validation: number | null; // lower is better, among the trials of one sweep
}

export interface TaskFacts {
  name: string;
  slug: string; // its adapters' folder
}

/** What one must know of a sweep to find its adapters, whether it has ended or not. */
export interface SweepFacts {
  sweepId: string;
  folder: string;
  experiment: ExperimentSpec;
  modelName: string; // as its adapters name their base
  tasks: readonly TaskFacts[];
  trials: readonly TrialFacts[];
  best: string | null; // the trial that results.json calls so
}

const fromResults = (folder: string, results: SweepResults): SweepFacts => ({
  sweepId: results.sweepId,
  folder,
  experiment: parseExperiment(results.experiment),
  modelName: results.model.name,
  tasks: results.data.tasks,
  best: results.best?.trialId ?? null,
  trials: results.trials.map(({ id, tau, seed, state, validation }) => {
    return { id, tau, seed, state, validation: validation?.macroPerplexity ?? null };
  }),
});

/** From results.json, or from the events of a sweep that has not ended. Throws sweep_unknown. */
export async function sweepFacts(dir: string, sweepId: string, open: () => Promise<StoreReader>): Promise<SweepFacts> {
  const folder = sweepFolder(dir, sweepId);
  const results = await usableResults(folder);
  if (results !== null) return fromResults(folder, results);
  const { plan, experiment, inspected, trials } = await foldSweep(await open(), sweepId);
  if (plan === null || inspected === null)
    throw new BoraError("sweep_unknown", `${dir} holds no sweep ${sweepId}`, { hint: "bora status lists the sweeps" });
  return {
    ...{ sweepId, folder, experiment: parseExperiment(experiment) },
    ...{ modelName: inspected.modelName, tasks: inspected.tasks, best: null },
    trials: Object.values(trials).map(({ id, tau, seed, state }) => {
      return { id, tau, seed, state: state.at, validation: state.at === "done" ? state.nllPerToken : null };
    }),
  };
}

const listed = (names: readonly string[]): string => {
  const shown = names.slice(0, 20).join(", ");
  return names.length > 20 ? `${shown} and ${names.length - 20} more` : shown;
};

/** The task of that name or slug. Throws task_unknown with those there are. */
export function findTask({ sweepId, tasks }: Pick<SweepFacts, "sweepId" | "tasks">, wanted: string): TaskFacts {
  const found = tasks.find(({ name }) => name === wanted) ?? tasks.find(({ slug }) => slug === wanted);
  if (found !== undefined) return found;
  throw new BoraError("task_unknown", `sweep ${sweepId} has no task ${JSON.stringify(wanted)}`, {
    hint: `its ${tasks.length} tasks are: ${listed(tasks.map(({ name }) => name))}`,
  });
}

const described = ({ id, tau, seed, state }: TrialFacts): string =>
  `${id} (tau ${formatTau(tau)}, seed ${seed}, ${state})`;

/** The trial of that id, which has adapters. Throws trial_unknown with those there are. */
export function findTrial({ sweepId, trials }: Pick<SweepFacts, "sweepId" | "trials">, wanted: string): TrialFacts {
  const found = trials.find(({ id }) => id === wanted);
  if (found?.state === "done") return found;
  const what = found === undefined ? `has no trial ${wanted}` : `has no adapters of trial ${described(found)} yet`;
  throw new BoraError("trial_unknown", `sweep ${sweepId} ${what}`, { hint: `it has ${listed(trials.map(described))}` });
}

/** The done trial that is best by validation, of all or of one tau. Throws trial_unknown. */
export function bestDone(facts: SweepFacts, tau?: number): TrialFacts {
  const { sweepId, trials } = facts;
  const candidates = trials.filter((trial) => tau === undefined || trial.tau === tau);
  const rank = ({ id, validation }: TrialFacts): number =>
    tau === undefined && id === facts.best ? -Infinity : (validation ?? Infinity);
  const [best] = candidates.filter(({ state }) => state === "done").toSorted((a, b) => rank(a) - rank(b));
  if (best !== undefined) return best;
  const which = tau === undefined ? "trial" : `trial at tau ${formatTau(tau)}`;
  const what = candidates.length > 0 ? `has no ${which} that is done` : `has no ${which}`;
  throw new BoraError("trial_unknown", `sweep ${sweepId} ${what}`, { hint: `it has ${listed(trials.map(described))}` });
}
