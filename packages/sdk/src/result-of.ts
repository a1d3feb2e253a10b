import { BoraError, isErrorCode, type SweepResults } from "@bora/contracts";
import type { SweepOutcome } from "./lab.js";

const words = {
  failed: "some of its trials failed",
  stopped: "it was stopped",
  interrupted: "it was interrupted",
  cancelled: "it was cancelled",
} as const;

const counts = ({ results }: SweepOutcome): string => {
  const done = results?.trials.filter(({ state }) => state === "done").length;
  return results === null || done === undefined ? "" : `: ${done} of ${results.trials.length} trials are done`;
};

/**
 * The results of a sweep that ended as done. Throws the code of what failed or stopped it, cancelled, interrupted, or
 * results_missing where its files are gone.
 */
export function resultOf(outcome: SweepOutcome): SweepResults {
  const { sweepId, reason, results } = outcome;
  switch (outcome.outcome) {
    case "done":
      if (results !== null) return results;
      throw new BoraError("results_missing", `sweep ${sweepId} is done, but ${outcome.folder} holds no results.json`, {
        hint: "another program moved or replaced it; the store still has every event",
      });
    case "interrupted":
      throw new BoraError("interrupted", `sweep ${sweepId} has not ended: ${words.interrupted}`, {
        hint: "the same call goes on from the last checkpoint",
      });
    case "cancelled":
      throw new BoraError("cancelled", `sweep ${sweepId} has no result: ${words.cancelled}${counts(outcome)}`, {
        hint: "outcome() has the results of the trials that ended before",
      });
    case "failed":
    case "stopped": {
      const code = reason !== null && isErrorCode(reason.code) ? reason.code : "internal";
      const why = reason === null ? "" : `; the first: ${reason.message}`;
      throw new BoraError(code, `sweep ${sweepId}: ${words[outcome.outcome]}${counts(outcome)}${why}`, {
        hint: `${reason?.hint ?? "see the sweep's events"}; outcome() has the results of the others`,
      });
    }
    default:
      return outcome.outcome satisfies never;
  }
}
