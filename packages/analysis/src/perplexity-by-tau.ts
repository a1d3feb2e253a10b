import type { SweepResults } from "@bora/contracts";
import { compare } from "./tau-order.js";
import type { PerplexityByTau } from "./figure-data.js";
import type { HeldOut } from "./held-out.js";
import { contrastTaus, type TauContrast } from "./tau-contrasts.js";
import { compareTaus } from "./tau-comparison.js";

/** Each task's test perplexity at each tau that has finished trials, seeds averaged in nats; tasks in their order. */
function taskLines(results: SweepResults): PerplexityByTau["tasks"] {
  const sums = new Map<string, Map<number, { nats: number; seeds: number }>>();
  for (const { state, tau, test } of results.trials) {
    if (state !== "done" || test === null) continue;
    for (const { name, nats, tokens } of test.tasks) {
      const line = sums.get(name) ?? new Map<number, { nats: number; seeds: number }>();
      const sum = line.get(tau) ?? { nats: 0, seeds: 0 };
      sums.set(name, line.set(tau, { nats: sum.nats + nats / tokens, seeds: sum.seeds + 1 }));
    }
  }
  return results.data.tasks.map(({ name }) => ({
    name,
    points: [...(sums.get(name) ?? [])]
      .map(([tau, { nats, seeds }]) => ({ tau, perplexity: Math.exp(nats / seeds) }))
      .toSorted((a, b) => compare(a.tau, b.tau)),
  }));
}

/**
 * Test perplexity against tau; the band of a tau is the 95 % interval of its paired difference to the best tau, none at
 * the best. Without `test` there are no bands; `known`: the best tau against every other, where that is at hand. Null while no trial is done.
 */
export function perplexityByTau(
  results: SweepResults,
  test: HeldOut | null,
  known?: readonly TauContrast[],
): PerplexityByTau | null {
  const best = results.best?.tau ?? null;
  const rows = compareTaus(results);
  const finished = rows.flatMap(({ tau, macroTest }) => (macroTest === null ? [] : [{ tau, perplexity: macroTest }]));
  if (finished.length === 0) return null;
  const others = finished.map(({ tau }) => tau).filter((tau) => tau !== best);
  const contrasts = known ?? (test === null || best === null ? [] : contrastTaus(test, best, others));
  const bandOf = (tau: number, perplexity: number): [number, number] | null => {
    if (tau === best && contrasts.length > 0) return [perplexity, perplexity];
    const own = contrasts.find(({ other, standardError }) => other === tau && Number.isFinite(standardError));
    if (own === undefined) return null;
    const { difference, low, high } = own; // of the best minus this tau
    return [perplexity * Math.exp(difference - high), perplexity * Math.exp(difference - low)];
  };
  return {
    taus: rows.map(({ tau }) => tau),
    overall: finished.map(({ tau, perplexity }) => ({ tau, perplexity, band: bandOf(tau, perplexity) })),
    tasks: taskLines(results),
    base: results.base?.test.macroPerplexity ?? null,
    best,
  };
}
