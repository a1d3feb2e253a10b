import { spearman, type RankCorrelation } from "./spearman.js";

/** What the trainer measures of one task's adapter; distances.py says how. */
export interface AdapterDistance {
  task: string;
  trainTokens: number; // scored
  factors: number; // ||theta_d - Theta||, over the factors A and B
  change: number; // ||dW_d - dW_Theta||_F, of the change of the weights, scale included
}

export interface ShrinkageRow extends AdapterDistance {
  /**
   * Of the factors' distance at tau = 0: 1 = as far as without a prior, 0 = one shared adapter; null without that
   * fit.
   */
  ratio: number | null;
}

/** How far adapters went from Theta, largest training set first, and the rank correlations with training tokens. */
export interface Shrinkage {
  rows: ShrinkageRow[];
  /** Distances grow with data where there is no prior at all: only the ratio's correlation speaks of shrinkage. */
  withTrainTokens: { factors: RankCorrelation; ratio: RankCorrelation | null; change: RankCorrelation };
}

/**
 * Shrinkage towards Theta at one tau, `independent` being the same tasks' distances at tau = 0 (to the mean of those
 * adapters). docs/statistics.md.
 */
export function shrinkage(
  distances: readonly AdapterDistance[],
  independent: readonly Pick<AdapterDistance, "task" | "factors">[],
): Shrinkage {
  const free = new Map(independent.map(({ task, factors }) => [task, factors]));
  const rows = distances
    .map((own) => {
      const alone = free.get(own.task) ?? 0;
      return { ...own, ratio: alone > 0 ? own.factors / alone : null };
    })
    .toSorted((a, b) => b.trainTokens - a.trainTokens || (a.task < b.task ? -1 : 1));
  const correlation = (of: (row: ShrinkageRow) => number | null): RankCorrelation | null => {
    const values = rows.map(of).filter((value) => value !== null);
    return values.length < rows.length
      ? null
      : spearman(
          rows.map(({ trainTokens }) => trainTokens),
          values,
        );
  };
  const [factors, change] = [correlation((row) => row.factors), correlation((row) => row.change)];
  const none: RankCorrelation = { rho: NaN, p: NaN, method: "exact" };
  return {
    rows,
    withTrainTokens: { factors: factors ?? none, ratio: correlation((row) => row.ratio), change: change ?? none },
  };
}
