import { compareTaus } from "@bora/analysis";
import type { SweepResults } from "@bora/contracts";

/** Test perplexity of one line of the figure at one tau; seeds averaged in nats. */
export interface Point {
  name: string;
  tau: number;
  perplexity: number;
}

export const overall = "all tasks (macro mean)";

/** All tasks together, at each tau that has finished trials. */
export const meanPoints = (results: SweepResults): Point[] =>
  compareTaus(results).flatMap(({ tau, macroTest }) =>
    macroTest === null ? [] : [{ name: overall, tau, perplexity: macroTest }],
  );

/** Each task, at each tau that has finished trials. */
export function taskPoints(results: SweepResults): Point[] {
  const sums = new Map<string, { name: string; tau: number; nats: number; seeds: number }>();
  for (const { state, tau, test } of results.trials) {
    if (state !== "done" || test === null) continue;
    for (const { name, nats, tokens } of test.tasks) {
      const key = JSON.stringify([name, String(tau)]);
      const sum = sums.get(key) ?? { name, tau, nats: 0, seeds: 0 };
      sums.set(key, { ...sum, nats: sum.nats + nats / tokens, seeds: sum.seeds + 1 });
    }
  }
  return [...sums.values()].map(({ name, tau, nats, seeds }) => ({ name, tau, perplexity: Math.exp(nats / seeds) }));
}
