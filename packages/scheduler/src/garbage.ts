import { isOpen } from "./evolve-control.js";
import { isLive } from "./evolve-trainer.js";
import type { RunRecord, SweepState, TrialRecord } from "./sweep-state.js";

/** Whether a trainer's folder of a run is still needed, and for what. */
export type RunUse = { at: "needed"; for: string } | { at: "done" };

/**
 * What each run of a sweep is kept for: an attempt that may be at work, a checkpoint that a resume or a retry goes on
 * from, result files that are not in the sweep's folder yet. A run that is none of these can go.
 */
export function runUses(state: SweepState): Map<string, RunUse> {
  return new Map(Object.values(state.runs).map((run) => [run.runId, useOf(state, run)]));
}

function useOf(state: SweepState, run: RunRecord): RunUse {
  const own = run.trialIds.flatMap((id) => {
    const trial = state.trials[id];
    return trial?.runId === run.runId ? [trial] : [];
  });
  if (isLive(run)) return { at: "needed", for: "an attempt that may be at work" };
  if (own.some((trial) => trial.state.at === "done" && !trial.fetched))
    return { at: "needed", for: "result files that are not fetched" };
  if (state.base?.runId === run.runId && !state.base.fetched)
    return { at: "needed", for: "the base model's result files" };
  if (own.some((trial) => goesOnFromCheckpoint(trial, run))) return { at: "needed", for: "a checkpoint to go on from" };
  return { at: "done" };
}

/** As `requeued` decides it: into the same run, or into a new one. */
function goesOnFromCheckpoint(trial: TrialRecord, { phase }: RunRecord): boolean {
  const { state } = trial;
  const lost = state.at === "failed" && state.domain === "infra";
  if (phase.at === "closed") return lost;
  return phase.at === "waiting" && (lost || isOpen(trial) || state.at === "stopped" || state.at === "cancelled");
}
