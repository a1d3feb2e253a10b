import { createHash } from "node:crypto";
import { deserialize, serialize } from "node:v8";
import { BoraError } from "@bora/contracts";
import type { Store, StoreReader } from "@bora/store";
import { byId, type SweepState } from "./sweep-state.js";

/**
 * Of what `evolve` makes of events. Raise it with every change to SweepState or to what an event does to it: snapshots of
 * another version are passed over, and the sweep is folded from its first event.
 */
export const foldVersion = 2;

const everyEvents = 20_000; // fewer are folded in a part of a second
const worthKeeping = 1_000; // at a sweep's end

/** The state of a sweep as it was kept, null where there is none that this version reads. */
export async function readSnapshot(store: Pick<StoreReader, "snapshot">, sweepId: string): Promise<SweepState | null> {
  const kept = await store.snapshot(sweepId, foldVersion);
  if (kept === null) return null;
  const body = unsealed(kept);
  if (body === null) return null;
  try {
    const state = deserialize(body) as SweepState; // written below, by this version
    return { ...state, trials: byId(state.trials), runs: byId(state.runs) }; // clones have a prototype: "constructor" is no trial
  } catch {
    return null; // by a Node.js whose format this one does not read
  }
}

const digest = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

/** Its hash goes before it: a damaged page of the database must not become a state that nobody decided. */
const sealed = (bytes: Buffer): Buffer => Buffer.concat([digest(bytes), bytes]);

function unsealed(kept: Uint8Array): Uint8Array | null {
  const [hash, bytes] = [kept.subarray(0, 32), kept.subarray(32)];
  return digest(bytes).equals(hash) ? bytes : null;
}

/**
 * Keeps states of a sweep while it goes on and when its controller leaves, so that whoever folds it next begins there.
 * Structured clones hold data alone, infinities too. One that cannot be kept is none: the events are all there.
 */
export class Snapshots {
  private since = 0; // events

  constructor(
    private readonly store: Pick<Store, "keepSnapshot">,
    private readonly every = everyEvents,
  ) {}

  async stored(state: SweepState, events: number): Promise<void> {
    this.since += events;
    if (this.since >= this.every) await this.keep(state);
  }

  async atEnd(state: SweepState): Promise<void> {
    if (this.since >= worthKeeping) await this.keep(state);
  }

  private async keep(state: SweepState): Promise<void> {
    this.since = 0;
    const { sweepId, position } = state;
    try {
      await this.store.keepSnapshot({ sweepId, position, version: foldVersion, body: sealed(serialize(state)) });
    } catch (thrown) {
      if (!(thrown instanceof BoraError)) throw thrown; // a full disk, a database that is away: the next append says so
    }
  }
}
