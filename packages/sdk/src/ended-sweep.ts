import { BoraError, type SweepResults } from "@bora/contracts";
import type { StoreReader } from "@bora/store";
import { untilAborted, type CallOptions } from "./abortable.js";
import type { SweepHandle, SweepOutcome } from "./lab.js";
import { resultOf } from "./result-of.js";
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

  async *events(afterPosition = 0, { signal }: CallOptions = {}): AsyncIterable<SweepEvent> {
    for await (const stored of this.store.read({ sweepId: this.sweepId, afterPosition })) {
      signal?.throwIfAborted();
      yield sweepEvent(stored);
    }
  }

  outcome({ signal }: CallOptions = {}): Promise<SweepOutcome> {
    return untilAborted(Promise.resolve(this.ended), signal);
  }

  async result(options?: CallOptions): Promise<SweepResults> {
    return resultOf(await this.outcome(options));
  }

  send(): Promise<never> {
    return Promise.reject(
      new BoraError("sweep_unknown", `sweep ${this.sweepId} has ended, nobody is at work on it`, {
        hint: "bora retry sends failed trials back to the queue",
      }),
    );
  }

  cancel(): Promise<never> {
    return this.send();
  }

  abandon(): void {
    // nothing runs
  }
}
