import { BoraError } from "@bora/contracts";
import type { StoreReader } from "@bora/store";
import type { SweepHandle, SweepOutcome } from "./lab.js";
import { sweepEvent, type SweepEvent } from "./sweep-event.js";

/** A sweep with nothing left to do, seen through its store. */
export class EndedSweep implements SweepHandle {
  readonly at = "ended";

  constructor(
    private readonly store: Pick<StoreReader, "read">,
    private readonly ended: SweepOutcome,
  ) {}

  get sweepId(): string {
    return this.ended.sweepId;
  }

  async *events(afterPosition = 0): AsyncIterable<SweepEvent> {
    for await (const stored of this.store.read({ sweepId: this.sweepId, afterPosition })) yield sweepEvent(stored);
  }

  outcome(): Promise<SweepOutcome> {
    return Promise.resolve(this.ended);
  }

  send(): Promise<never> {
    return Promise.reject(
      new BoraError("sweep_unknown", `sweep ${this.sweepId} has ended, nobody is at work on it`, {
        hint: "bora retry sends failed trials back to the queue",
      }),
    );
  }

  abandon(): void {
    // nothing runs
  }
}
