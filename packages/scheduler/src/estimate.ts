import type { ExperimentSpec, Inspected, Plan } from "@bora/contracts";
import { packMemory, type PackMemory } from "./memory.js";

export interface PackEstimate {
  packId: string;
  trials: number;
  rows: number; // G = trials x tasks
  memory: PackMemory;
  tokensPerStep: number; // scored training tokens over all rows, mean
  secondsLow: number | null; // every trial stops as early as its patience allows; null: speed not probed
  secondsHigh: number | null; // every trial trains to maxSteps
}

/** What a plan costs on the machine that was inspected, one pack after another; evaluation included. */
export interface Estimate {
  rows: number;
  tokensPerStep: number; // scored training tokens of one trial, mean
  stepsPerEpoch: number;
  packs: PackEstimate[];
  secondsLow: number | null;
  secondsHigh: number | null;
}

/** Pure; the estimates are means over the data, not bounds. */
export function estimate(spec: ExperimentSpec, inspected: Inspected, plan: Plan): Estimate {
  const tokensPerStep = meanTokensPerStep(spec, inspected);
  const all = inspected.tasks.reduce((sum, task) => sum + task.scoredTokens.train, 0);
  const packs = plan.packs.map(({ id, trialIds }): PackEstimate => {
    const rows = trialIds.length * inspected.tasks.length;
    return {
      packId: id,
      trials: trialIds.length,
      rows,
      memory: packMemory(spec, inspected, trialIds.length),
      tokensPerStep: tokensPerStep * trialIds.length,
      secondsLow: seconds(spec, inspected, trialIds.length, fewestSteps(spec)),
      secondsHigh: seconds(spec, inspected, trialIds.length, spec.train.maxSteps),
    };
  });
  return {
    rows: packs.reduce((sum, pack) => sum + pack.rows, 0),
    tokensPerStep,
    stepsPerEpoch: Math.max(1, Math.ceil(all / tokensPerStep)),
    packs,
    secondsLow: total(packs.map((pack) => pack.secondsLow)),
    secondsHigh: total(packs.map((pack) => pack.secondsHigh)),
  };
}

const total = (parts: readonly (number | null)[]): number | null =>
  parts.reduce<number | null>((sum, part) => (sum === null || part === null ? null : sum + part), 0);

/** The first evaluation is the best one, and patience runs out. */
const fewestSteps = ({ train }: ExperimentSpec): number =>
  Math.min(train.maxSteps, (1 + train.patience) * train.evaluateEvery);

/** Scored tokens of one step of one trial: docs/method.md, section 4. */
function meanTokensPerStep({ train }: ExperimentSpec, { tasks }: Inspected): number {
  const perTask = tasks.map(({ scoredTokens, documents }) => {
    switch (train.sampler) {
      case "groups": // one of ceil(tokens / budget) groups
        return scoredTokens.train / Math.max(1, Math.ceil(scoredTokens.train / train.tokensPerTask));
      case "documents":
        return (scoredTokens.train / documents.train) * Math.min(train.documentsPerTask ?? 1, documents.train);
      case "uniform": // the budget is shared by all tasks
        return Math.min(scoredTokens.train, train.tokensPerTask);
      default:
        return train.sampler satisfies never;
    }
  });
  return Math.max(
    1,
    perTask.reduce((sum, tokens) => sum + tokens, 0),
  );
}

/** Training, the evaluations on the way, and the last ones: tasks and prior mean on validation and test. */
function seconds(spec: ExperimentSpec, inspected: Inspected, trials: number, steps: number): number | null {
  const { trainTokensPerSecond, evaluateTokensPerSecond, tasks } = inspected;
  if (trainTokensPerSecond <= 0 || evaluateTokensPerSecond <= 0) return null;
  const { validationDocuments, evaluateEvery } = spec.train;
  const onTheWay = tasks.reduce((sum, { documents, scoredTokens }) => {
    const share = validationDocuments === 0 ? 1 : Math.min(1, validationDocuments / Math.max(1, documents.validation));
    return sum + scoredTokens.validation * share;
  }, 0);
  const last = tasks.reduce((sum, { scoredTokens }) => sum + scoredTokens.validation + scoredTokens.test, 0);
  const trained = meanTokensPerStep(spec, inspected) * steps * trials;
  const evaluated = onTheWay * Math.ceil(steps / evaluateEvery) * trials + 2 * last * trials;
  return trained / trainTokensPerSecond + evaluated / evaluateTokensPerSecond;
}
