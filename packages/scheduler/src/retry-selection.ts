import type { SweepState, TrialRecord } from "./sweep-state.js";

/** Which trials a verb sends back to the queue. */
export type RequeueSelection =
  | { by: "stopped" } // put down by a drain: any later run of the sweep goes on with them
  | { by: "resume" } // stopped and cancelled
  | { by: "failed"; code?: string }
  | { by: "lost" } // failed by the machine, not by the experiment
  | { by: "missing" } // metrics_missing
  | { by: "trials"; trialIds: readonly string[] };

function selects(selection: RequeueSelection, { id, state }: TrialRecord): boolean {
  switch (selection.by) {
    case "stopped":
      return state.at === "stopped" && state.by === "user";
    case "resume":
      return state.at === "stopped" || state.at === "cancelled";
    case "failed":
      return state.at === "failed" && (selection.code === undefined || state.code === selection.code);
    case "lost":
      return state.at === "failed" && state.domain === "infra";
    case "missing":
      return state.at === "metrics_missing";
    case "trials":
      return (
        selection.trialIds.includes(id) && ["failed", "metrics_missing", "cancelled", "stopped"].includes(state.at)
      );
    default:
      return selection satisfies never;
  }
}

/** Ids of the trials that the verb moves, in plan order; empty when none is in a state that it may move. */
export const selectTrials = (state: SweepState, selection: RequeueSelection): string[] =>
  Object.values(state.trials)
    .filter((trial) => selects(selection, trial))
    .map((trial) => trial.id);
