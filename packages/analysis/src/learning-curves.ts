import type { SweepResults } from "@bora/contracts";
import type { LearningCurves } from "./figure-data.js";

/** How trials learnt, by tau, then seed; those that were never evaluated are left out. Null when that is all of them. */
export function learningCurvesOf({ trials, base }: Pick<SweepResults, "trials" | "base">): LearningCurves | null {
  const curves = trials
    .filter(({ learning }) => learning.steps.length > 0)
    .map(({ id, tau, seed, bestStep, learning }) => ({
      ...{ trial: id, tau, seed, bestStep },
      points: learning.steps.map((step, index) => ({
        step,
        perplexity: Math.exp(learning.natsPerToken[index] ?? NaN),
      })),
    }));
  return curves.length === 0 ? null : { curves, base: base?.validation.macroPerplexity ?? null };
}
