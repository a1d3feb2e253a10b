import { compareTasks, compareTaus, perplexityByTau } from "@bora/analysis";
import type { SweepResults } from "@bora/contracts";
import type { Comparison } from "./page-api.js";
import { factsOf } from "./sweep-view.js";

function sweepColumn(name: string, results: SweepResults): Comparison["sweeps"][number] {
  const rows = compareTaus(results);
  const at = (tau: number) => rows.find((row) => row.tau === tau)?.macroTest ?? null;
  const best = results.best;
  const perplexity = best === null ? null : at(best.tau);
  return {
    ...{ sweepId: results.sweepId, name, facts: factsOf(results), figure: perplexityByTau(results, null) },
    base: results.base?.test.macroPerplexity ?? null,
    best: best === null || perplexity === null ? null : { tau: best.tau, trialId: best.trialId, perplexity },
    ...{ independent: at(0), shared: at(Infinity) },
  };
}

/** Where perplexities of two sweeps are not of the same text or the same tokens, and so cannot be held side by side. */
function warningsOf(all: readonly SweepResults[], differences: readonly string[] | null): string[] {
  const different = (of: (results: SweepResults) => string) => new Set(all.map(of)).size > 1;
  const warnings: string[] = [];
  if (different(({ data }) => data.hash))
    warnings.push("These sweeps were scored on different documents: their perplexities are not comparable.");
  if (different(({ model }) => model.hash))
    warnings.push(
      "These sweeps have different base models: where tokenisers differ, so do perplexities of equal models.",
    );
  if (all.some(({ best }) => best === null)) warnings.push("A sweep without a finished trial has no numbers yet.");
  if (all.length > 1 && differences === null)
    warnings.push(
      "No intervals yet: they need every sweep to have ended, with its documents here. bora compare makes them of any number of documents.",
    );
  return warnings;
}

/**
 * Sweeps side by side: what each is, its best tau and ends, every task that all of them have, and how they differ in
 * sentences (null: nobody could say with an interval).
 */
export function comparison(
  named: readonly { name: string; results: SweepResults }[],
  differences: readonly string[] | null,
): Comparison {
  const all = named.map(({ results }) => results);
  const bestByTask = all.map((results) => new Map(compareTasks(results).map(({ name, best }) => [name, best])));
  const [first] = all;
  const tasks = (first?.data.tasks ?? []).filter(({ name }) => bestByTask.every((of) => of.has(name)));
  return {
    sweeps: named.map(({ name, results }) => sweepColumn(name, results)),
    tasks: tasks.map(({ name }) => ({ name, best: bestByTask.map((of) => of.get(name) ?? null) })),
    differences: [...(differences ?? [])],
    warnings: warningsOf(all, differences),
  };
}
