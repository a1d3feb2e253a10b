import { setTimeout as delay } from "node:timers/promises";
import { BoraError, type SweepResults } from "@bora/contracts";
import { runSweep, SweepControl, type SweepDeps, type SweepEnd, type SweepRequest } from "@bora/scheduler";
import type { Store } from "@bora/store";
import { untilAborted, type CallOptions } from "./abortable.js";
import type { SweepCommand, SweepHandle, SweepOptions, SweepOutcome } from "./lab.js";
import { resultOf } from "./result-of.js";
import { sweepEvent, type SweepEvent } from "./sweep-event.js";

const readAgainMs = 1_000;

/** Wakes every reader that waits for the next change. */
class Bell {
  private waiters: (() => void)[] = [];

  ring(): void {
    for (const wake of this.waiters.splice(0)) wake();
  }

  next(): Promise<void> {
    return new Promise((resolve) => this.waiters.push(resolve));
  }
}

/** A sweep that this process runs: the scheduler's loop, its events read back from the store, and a way to ask it to stop. */
export class RunningSweep implements SweepHandle {
  readonly at = "here";
  readonly sweepId: string;
  private readonly store: Store;
  private readonly control = new SweepControl();
  private readonly bell = new Bell();
  private readonly end: Promise<SweepOutcome>;
  private ended = false;

  constructor(
    deps: SweepDeps,
    request: SweepRequest,
    finish: (end: SweepEnd) => Promise<SweepOutcome>,
    options: Pick<SweepOptions, "onNotice" | "signal"> = {},
  ) {
    this.sweepId = "plan" in request ? request.plan.sweepId : request.sweepId;
    this.store = deps.store;
    const onProgress: SweepRequest["onProgress"] = (progress) => {
      if (progress.kind === "event") this.bell.ring();
      else options.onNotice?.(progress);
    };
    const drain = () => {
      this.control.send({ verb: "drain" });
    };
    options.signal?.addEventListener("abort", drain, { once: true });
    this.end = runSweep(deps, { ...request, control: this.control, onProgress })
      .then(finish)
      .finally(() => {
        options.signal?.removeEventListener("abort", drain);
        this.ended = true;
        this.bell.ring();
      });
    this.end.catch(() => undefined); // whoever asks for the outcome gets it
  }

  /** Reads what is stored, so that nobody sees an event that could still be lost. */
  async *events(afterPosition = 0, { signal }: CallOptions = {}): AsyncIterable<SweepEvent> {
    let position = afterPosition;
    for (;;) {
      const changed = this.bell.next();
      const last = this.ended;
      try {
        for await (const stored of this.store.read({ sweepId: this.sweepId, afterPosition: position })) {
          signal?.throwIfAborted();
          position = stored.position;
          yield sweepEvent(stored);
        }
      } catch (thrown) {
        if (last || !(thrown instanceof BoraError) || thrown.code !== "store_unavailable") throw thrown;
        await delay(readAgainMs); // the loop waits for its database too, and says so
        continue;
      }
      if (last) return;
      await untilAborted(changed, signal);
    }
  }

  outcome({ signal }: CallOptions = {}): Promise<SweepOutcome> {
    return untilAborted(this.end, signal);
  }

  async result(options?: CallOptions): Promise<SweepResults> {
    return resultOf(await this.outcome(options));
  }

  send(command: SweepCommand): Promise<void> {
    if (this.ended)
      return Promise.reject(
        new BoraError("sweep_unknown", `sweep ${this.sweepId} has ended`, {
          hint: "bora status lists sweeps and their states",
        }),
      );
    this.control.send(command);
    return Promise.resolve();
  }

  cancel(): Promise<void> {
    return this.send({ verb: "cancel" });
  }

  abandon(): void {
    this.control.send({ verb: "abandon" });
  }
}
