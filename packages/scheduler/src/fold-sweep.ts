import type { StoredEvent, StoreReader } from "@bora/store";
import { evolveAll } from "./evolve.js";
import { readSnapshot } from "./snapshot.js";
import { emptySweep, type SweepState } from "./sweep-state.js";

const eventsAtOnce = 1_000;

/**
 * A sweep's state from its stored events; `plan` is null when the store does not know the sweep. Begins at the newest
 * snapshot that this version reads, which changes nothing but the time it takes.
 */
export async function foldSweep(store: Pick<StoreReader, "read" | "snapshot">, sweepId: string): Promise<SweepState> {
  return foldFrom(store, (await readSnapshot(store, sweepId)) ?? emptySweep(sweepId));
}

/** A state with what was stored after it. */
export async function foldFrom(store: Pick<StoreReader, "read">, from: SweepState): Promise<SweepState> {
  let state = from;
  let batch: StoredEvent[] = [];
  for await (const event of store.read({ sweepId: from.sweepId, afterPosition: from.position })) {
    batch.push(event);
    if (batch.length < eventsAtOnce) continue;
    state = evolveAll(state, batch);
    batch = [];
  }
  return evolveAll(state, batch);
}
