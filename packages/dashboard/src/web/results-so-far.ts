import { bestTrial, nothingLearnt } from "@bora/analysis";
import type { SweepResults, TrialResult } from "@bora/contracts";
import { complete, type SweepIndex } from "./sweep-index.js";

const states: Record<string, TrialResult["state"]> = {
  ...{ planned: "planned", training: "running", stopped: "stopped", done: "done", failed: "failed" },
  ...{ cancelled: "cancelled", adopted: "done" },
};

const byTau = (a: TrialResult, b: TrialResult): number => (a.tau === b.tau ? a.seed - b.seed : a.tau < b.tau ? -1 : 1);

/** The numbers of a sweep that its events tell, before results.json is there: no intervals, no documents. */
export function resultsSoFar(index: SweepIndex): SweepResults | null {
  const { inspected, experiment, trials: known } = index.progress;
  if (inspected === null) return null;
  const trials = [...known.values()].map((trial): TrialResult => {
    const own = trial.at === "done" ? complete(index.own.get(trial.id)) : null;
    return {
      ...{ id: trial.id, tau: trial.tau, seed: trial.seed, state: states[trial.at] ?? "planned" },
      ...{ steps: trial.steps, bestStep: trial.bestStep, ended: trial.ended },
      ...{ validation: own?.validation ?? null, test: own?.test ?? null },
      priorMean: own === null ? null : complete(index.priorMean.get(trial.id)),
      ...{ failure: null, float32Check: null },
      ...nothingLearnt,
    };
  });
  trials.sort(byTau);
  const best = bestTrial(trials);
  return {
    ...{ schemaVersion: 1, sweepId: index.sweepId, experiment, versions: { ...index.versions }, execution: null },
    model: { name: inspected.modelName, hash: inspected.modelHash },
    data: { hash: inspected.dataHash, tasks: inspected.tasks },
    ...{ base: complete(index.base), trials },
    best: best && { trialId: best.id, tau: best.tau, against: [] },
    warnings: [...inspected.warnings],
  };
}
