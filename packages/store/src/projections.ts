import type { Transaction } from "kysely";
import type { FinishedTrialRow, SweepRow, Tables } from "./schema.js";
import type { StoredEvent } from "./store.js";

/** What an event says to the tables beside the log. */
export type Projected = { table: "sweeps"; row: SweepRow } | { table: "finished_trials"; row: FinishedTrialRow }; // a fact of the row: done, or fetched

/** The projection of one event, or null when it has none. */
export function project({ body, sweepId, runId, position, recordedAtMs }: StoredEvent): Projected | null {
  if (body.stream === "trainer") {
    if (body.event.body?.$case !== "trialDone") return null;
    const { trialId } = body.event;
    const row = { trial_id: trialId, run_id: runId, sweep_id: sweepId, position, fetched: 0 as const };
    return { table: "finished_trials", row };
  }
  if (body.event.kind === "sweep_planned") {
    const row = { sweep_id: sweepId, name: body.event.plan.name, planned_at_ms: recordedAtMs, position };
    return { table: "sweeps", row };
  }
  if (body.event.kind === "artifacts_fetched" && body.event.trialId !== null) {
    const { trialId, runId: trainedBy } = body.event;
    const row = { trial_id: trialId, run_id: trainedBy, sweep_id: sweepId, position: null, fetched: 1 as const };
    return { table: "finished_trials", row };
  }
  return null;
}

/** Brings the projections up to an event, in the transaction that appends it. The first of its kind counts. */
export async function applyProjection(transaction: Transaction<Tables>, projected: Projected): Promise<void> {
  switch (projected.table) {
    case "sweeps":
      await transaction
        .insertInto("sweeps")
        .values(projected.row)
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      return;
    case "finished_trials": {
      const { position, fetched } = projected.row;
      await transaction
        .insertInto("finished_trials")
        .values(projected.row)
        .onConflict((conflict) =>
          conflict.columns(["trial_id", "run_id"]).doUpdateSet((row) => ({
            position: row.fn.coalesce("finished_trials.position", row.val(position)),
            ...(fetched === 1 && { fetched }),
          })),
        )
        .execute();
      return;
    }
    default:
      projected satisfies never;
  }
}
