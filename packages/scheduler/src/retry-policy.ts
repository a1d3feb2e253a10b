import type { ControlEvent, Pack } from "@bora/contracts";
import { isOpen } from "./evolve-control.js";
import type { BreakerCount, Failure, RunRecord, SweepState } from "./sweep-state.js";

export const maxAttempts = 3;
const firstBackoffMs = 5_000;
const maxBackoffMs = 300_000;

/** 5 s, doubling to 5 min; `failures` counts from 1. */
export const backoffMs = (failures: number): number => Math.min(firstBackoffMs * 2 ** (failures - 1), maxBackoffMs);

/** Whether a retry's time has come. One that is further away than any backoff was set by another clock: it is due. */
export const isDue = (retryAtMs: number, nowMs: number): boolean =>
  retryAtMs <= nowMs || retryAtMs > nowMs + maxBackoffMs;

/** Faults of our own side that trying again at once cannot cure: the sweep pauses, no trial pays. */
const pausing = new Set(["disk_full", "store_unavailable", "api_mismatch"]);

/** Trials of a run whose result is still to come. */
export const openTrials = (state: SweepState, run: RunRecord): string[] =>
  run.trialIds.filter((id) => {
    const trial = state.trials[id];
    return trial !== undefined && trial.runId === run.runId && isOpen(trial);
  });

/**
 * What follows from a failed attempt, by the domain of its failure.
 * user: no retry. oom: halve the pack; a trial that fails alone has failed. infra: 3 attempts with backoff.
 * controller: no attempt charged; a violated invariant (event_conflict) fails the run's trials.
 */
export function judge(state: SweepState, run: RunRecord, failure: Failure, nowMs: number): ControlEvent[] {
  const { runId, attempt } = run;
  const trialIds = openTrials(state, run);
  const over = (retryAtMs: number | null): ControlEvent => ({
    kind: "attempt_failed",
    runId,
    attempt,
    ...failure,
    retryAtMs,
  });
  const fail = (): ControlEvent[] =>
    trialIds.length === 0 ? [over(null)] : [over(null), { kind: "trials_failed", trialIds, ...failure }];
  switch (failure.domain) {
    case "user":
      return fail();
    case "oom":
      return trialIds.length > 1
        ? [over(null), { kind: "pack_split", runId, packs: halves(state, run, trialIds) }]
        : fail();
    case "infra": {
      const charged = trialIds.length === 0 ? [run.failures] : trialIds.map((id) => state.trials[id]?.attempts ?? 0);
      const failures = 1 + Math.max(...charged);
      return failures >= maxAttempts ? fail() : [over(nowMs + backoffMs(failures))];
    }
    case "controller":
      if (failure.code === "event_conflict") return fail();
      return pausing.has(failure.code)
        ? [over(nowMs), { kind: "paused", code: failure.code, reason: failure.message }]
        : [over(nowMs + firstBackoffMs)];
    default:
      return failure.domain satisfies never;
  }
}

function halves(state: SweepState, run: RunRecord, trialIds: readonly string[]): Pack[] {
  const half = Math.ceil(trialIds.length / 2);
  const packId = state.packs.find((pack) => pack.trialIds.some((id) => trialIds.includes(id)))?.id ?? run.runId;
  return [trialIds.slice(0, half), trialIds.slice(half)].map((ids, index) => ({
    id: `${packId}.${index + 1}`,
    trialIds: ids,
  }));
}

/** Why a sweep should stop issuing work, or null. */
export function breakerReason({ ended, failed, failedInRow, firstCodes }: BreakerCount): string | null {
  const [first = ""] = firstCodes;
  if (first !== "" && firstCodes.length === 3 && firstCodes.every((code) => code === first))
    return `the first 3 trials failed with ${first}`;
  if (failedInRow >= 5) return `${failedInRow} trials failed in a row`;
  if (ended >= 10 && failed > 0.2 * ended) return `${failed} of ${ended} trials failed, more than 20 %`;
  return null;
}
