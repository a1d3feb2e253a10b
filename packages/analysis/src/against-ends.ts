import { type DocumentRow, type EndComparison, type TrialResult } from "@bora/contracts";
import { pairedBootstrap, pairTasks, type BootstrapOptions } from "./paired-bootstrap.js";

const ends = [
  { end: "independent", tau: 0 },
  { end: "shared", tau: Infinity },
] as const;

/** Nats per token as per cent of perplexity. */
export const asPercent = (nats: number): number => 100 * Math.expm1(nats);

/**
 * The best tau's test perplexity against both ends of the grid, over the seeds that both finished, with a paired
 * bootstrap interval. `testRows` gives a trial's own test documents.
 */
export function againstEnds(
  best: TrialResult,
  trials: readonly TrialResult[],
  testRows: (trial: TrialResult) => readonly DocumentRow[],
  options: Partial<BootstrapOptions> = {},
): EndComparison[] {
  const done = trials.filter(({ state }) => state === "done");
  return ends.flatMap(({ end, tau }) => {
    const pairs = done
      .filter((trial) => trial.tau === best.tau)
      .flatMap((trial) => {
        const other = done.find((candidate) => candidate.tau === tau && candidate.seed === trial.seed);
        return other === undefined ? [] : [{ first: testRows(trial), second: testRows(other) }];
      });
    if (best.tau === tau || pairs.length === 0) return [];
    const { difference, low, high } = pairedBootstrap(pairTasks(pairs), options);
    return [
      {
        end,
        percent: asPercent(difference),
        low: asPercent(low),
        high: asPercent(high),
        withinNoise: low <= 0 && high >= 0,
      },
    ];
  });
}
