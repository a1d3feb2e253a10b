import type { SweepResults } from "@bora/contracts";
import { asPercent } from "./against-ends.js";
import type { PerplexityByTau, PerplexityHeat } from "./figure-data.js";

/** Each task's test perplexity at each tau, in per cent of the task's geometric mean over the taus. */
export function perplexityHeat(results: SweepResults, { tasks, overall, best }: PerplexityByTau): PerplexityHeat {
  const sizes = new Map(results.data.tasks.map(({ name, scoredTokens }) => [name, scoredTokens.train]));
  const rows = tasks.map(({ name, points }) => {
    const middle = points.reduce((sum, { perplexity }) => sum + Math.log(perplexity), 0) / points.length;
    return {
      ...{ name, trainTokens: sizes.get(name) ?? NaN },
      cells: points.map((point) => ({ ...point, percent: asPercent(Math.log(point.perplexity) - middle) })),
    };
  });
  return {
    taus: overall.map(({ tau }) => tau),
    best,
    tasks: rows.toSorted((a, b) => b.trainTokens - a.trainTokens || (a.name < b.name ? -1 : 1)),
  };
}
