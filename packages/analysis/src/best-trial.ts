import type { TrialResult } from "@bora/contracts";

/** The finished trial with the lowest macro validation perplexity; ties: the larger tau, then the lower seed. */
export function bestTrial(trials: readonly TrialResult[]): TrialResult | null {
  const perplexity = (trial: TrialResult): number => trial.validation?.macroPerplexity ?? Infinity;
  const done = trials.filter((trial) => trial.state === "done" && trial.validation !== null);
  const [best = null] = done.toSorted(
    (a, b) => perplexity(a) - perplexity(b) || compare(b.tau, a.tau) || a.seed - b.seed || (a.id < b.id ? -1 : 1),
  );
  return best;
}

/** Ascending, where the difference of two infinities would be no number. */
export const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
