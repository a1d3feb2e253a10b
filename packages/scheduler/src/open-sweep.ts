import { BoraError, decodeControlEvent, encodeControlEvent, type ControlEvent } from "@bora/contracts";
import type { Store } from "@bora/store";
import { join } from "node:path";
import { linkResults } from "./fetch-results.js";
import { foldSweep } from "./fold-sweep.js";
import { selectTrials } from "./retry-selection.js";
import type { SweepRequest } from "./run-sweep.js";
import type { SweepState } from "./sweep-state.js";

/** What a call of runSweep adds to the log before the loop begins; nothing for a sweep that needs nothing. */
export function opening(state: SweepState, request: SweepRequest): ControlEvent[] {
  if (state.plan === null) return [planned(request)];
  const requeued = request.requeue === undefined ? [] : selectTrials(state, request.requeue);
  const again = requeued.length > 0;
  const { phase } = state;
  const ended = phase.at === "ended" ? phase.outcome : null;
  if (!again && (ended === "done" || ended === "failed" || ended === "cancelled" || phase.at === "cancelling"))
    return [];
  const stopped = selectTrials(state, { by: "stopped" }).filter((id) => !requeued.includes(id));
  return [
    ...(phase.at === "running" ? [] : [{ kind: "resumed" } as const]),
    ...requeue(stopped, "resume"),
    ...requeue(requeued, request.requeue?.by === "resume" ? "resume" : "retry"),
  ];
}

export const requeue = (trialIds: string[], reason: "resume" | "retry"): ControlEvent[] =>
  trialIds.length === 0 ? [] : [{ kind: "trials_requeued", trialIds, reason }];

function planned(request: SweepRequest): ControlEvent {
  if ("sweepId" in request)
    throw new BoraError("sweep_unknown", `there is no sweep ${request.sweepId} here`, {
      hint: "bora status lists the sweeps of an output folder",
    });
  const { plan, experiment, inspected } = request;
  // As it will be read back, so that what is folded now is what a later controller folds.
  return decodeControlEvent(encodeControlEvent({ kind: "sweep_planned", plan, experiment, inspected }));
}

/** Trials that another sweep of this store has finished: adopted, with the base model's nats where they are at hand. */
export async function adoptions(store: Store, out: string, state: SweepState): Promise<ControlEvent[]> {
  const events: ControlEvent[] = [];
  const others = new Map<string, SweepState>();
  for (const trial of Object.values(state.trials)) {
    if (trial.runId !== null || (trial.state.at !== "planned" && trial.state.at !== "queued")) continue;
    const found = await store.finishedTrial(trial.id);
    if (found === null || found.sweepId === state.sweepId) continue;
    const { sweepId: fromSweepId, runId } = found;
    const other = others.get(fromSweepId) ?? (await foldSweep(store, fromSweepId));
    others.set(fromSweepId, other);
    const outcome = other.trials[trial.id]?.outcome;
    if (outcome != null) events.push({ kind: "trial_adopted", trialId: trial.id, fromSweepId, runId, outcome });
  }
  return state.base === null ? [...events, ...(await adoptedBase(out, state.sweepId, events, others))] : events;
}

async function adoptedBase(
  out: string,
  sweepId: string,
  adopted: readonly ControlEvent[],
  others: ReadonlyMap<string, SweepState>,
): Promise<ControlEvent[]> {
  if (adopted.length === 0) return [];
  for (const [otherId, { base }] of others)
    if (base?.fetched === true && (await linkResults(join(out, otherId), join(out, sweepId), null)))
      return [{ kind: "artifacts_fetched", trialId: null, runId: base.runId }];
  return [];
}
