import type { StoredEvent } from "@bora/store";
import { applyControlEvent } from "./evolve-control.js";
import { applyTrainerEvent } from "./evolve-trainer.js";
import { withOwnRecords } from "./state-edits.js";
import type { SweepState } from "./sweep-state.js";

/**
 * The only thing that moves a sweep or a trial. Pure, and each event counts once: one that was applied before, or that
 * is ahead of its turn in its own stream, leaves the state as it is (it will be delivered again).
 */
export function evolve(state: SweepState, stored: StoredEvent): SweepState {
  const next = applyInTurn(state, stored);
  return next === state ? state : { ...next, position: Math.max(state.position, stored.position) };
}

/** The same, event after event, at a cost that does not grow with the number of trials. */
export const evolveAll = (state: SweepState, events: readonly StoredEvent[]): SweepState =>
  events.length < 2 ? events.reduce(evolve, state) : withOwnRecords(state, (own) => events.reduce(evolve, own));

function applyInTurn(state: SweepState, { body, seq, runId, recordedAtMs }: StoredEvent): SweepState {
  if (body.stream === "control") {
    if (seq !== state.controlSeq + 1) return state;
    return { ...applyControlEvent(state, body.event, recordedAtMs), controlSeq: seq };
  }
  const run = state.runs[runId];
  if (run === undefined || seq !== run.lastSeq + 1) return state;
  return applyTrainerEvent(state, { ...run, lastSeq: seq }, body.event);
}
