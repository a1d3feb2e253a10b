import { setTimeout as delay } from "node:timers/promises";
import { BoraError, type SweepResults } from "@bora/contracts";
import {
  runSweep,
  SweepControl,
  type SweepDeps,
  type SweepEnd,
  type SweepRequest,
  type SweepState,
} from "@bora/scheduler";
import type { Store } from "@bora/store";
import { untilAborted, type CallOptions } from "./abortable.js";
import type { EventsOptions, SweepCommand, SweepHandle, SweepOptions, SweepOutcome } from "./lab.js";
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
  private current: SweepState | null = null;
  private firstOwn = Infinity; // position of the first event that this process stored

  constructor(
    deps: SweepDeps,
    request: SweepRequest,
    finish: (end: SweepEnd) => Promise<SweepOutcome>,
    options: Pick<SweepOptions, "onNotice" | "signal"> = {},
  ) {
    this.sweepId = "plan" in request ? request.plan.sweepId : request.sweepId;
    this.store = deps.store;
    const onProgress: SweepRequest["onProgress"] = (progress) => {
      if (progress.kind === "event") {
        this.current = progress.state;
        this.firstOwn = Math.min(this.firstOwn, progress.event.position);
        this.bell.ring();
      } else options.onNotice?.(progress);
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

  /** With everything that is stored; null while nothing was by this process. */
  get state(): SweepState | null {
    return this.current;
  }

  /** Reads what is stored, so that nobody sees an event that could still be lost. */
  async *events(afterPosition = 0, { signal, aboutAtMost }: EventsOptions = {}): AsyncIterable<SweepEvent> {
    const { sweepId } = this;
    let position = afterPosition;
    if (aboutAtMost !== undefined)
      for await (const stored of this.store.read({ sweepId, afterPosition, aboutAtMost })) {
        signal?.throwIfAborted();
        if (stored.position >= this.firstOwn) break; // what comes is told whole
        position = stored.position;
        yield sweepEvent(stored);
      }
    for (;;) {
      const changed = this.bell.next();
      const last = this.ended;
      try {
        for await (const stored of this.store.read({ sweepId, afterPosition: position })) {
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
