import type { Store } from "@bora/store";
import { evolve } from "./evolve.js";
import { emptySweep, type SweepState } from "./sweep-state.js";

/** A sweep's state from its stored events; `plan` is null when the store does not know the sweep. */
export async function foldSweep(store: Pick<Store, "read">, sweepId: string): Promise<SweepState> {
  let state = emptySweep(sweepId);
  for await (const event of store.read({ sweepId })) state = evolve(state, event);
  return state;
}
