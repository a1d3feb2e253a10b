import { setTimeout as delay } from "node:timers/promises";
import { BoraError, type SweepResults } from "@bora/contracts";
import { eitherSignal, type CallOptions } from "./abortable.js";
import { controllerPaths, toJson } from "./controller-api.js";
import { ask, askEvents, failureIn, type ControllerAddress } from "./http-client.js";
import { SweepOutcome, type SweepCommand, type SweepHandle } from "./lab.js";
import { resultOf } from "./result-of.js";
import { decodeSweepEvent, type SweepEvent } from "./sweep-event.js";

const reconnectDelays = [100, 500, 2_000]; // ms
const afterAll = Number.MAX_SAFE_INTEGER;

/** A sweep that another process runs, followed over server-sent events until the signal aborts. */
export class RemoteSweep implements SweepHandle {
  readonly at = "elsewhere";
  private readonly abandoned = new AbortController();
  private readonly left: AbortSignal;
  private ended: SweepOutcome | null = null; // the controller leaves soon after it has said so

  constructor(
    private readonly address: ControllerAddress,
    readonly sweepId: string,
    following: AbortSignal,
  ) {
    this.left = AbortSignal.any([this.abandoned.signal, following]);
  }

  /** Throws sweep_unknown unless the controller runs it or knows how it ended. */
  async find(signal: AbortSignal): Promise<void> {
    const found = new AbortController();
    const request = { headers: { "last-event-id": String(afterAll) }, signal: eitherSignal(found.signal, signal) };
    await ask(this.address, controllerPaths.events(this.sweepId), request);
    found.abort();
  }

  async *events(afterPosition = 0, { signal }: CallOptions = {}): AsyncIterable<SweepEvent> {
    for await (const message of this.messages(afterPosition, signal)) if ("position" in message) yield message;
  }

  async outcome({ signal }: CallOptions = {}): Promise<SweepOutcome> {
    signal?.throwIfAborted();
    if (this.ended !== null) return this.ended;
    for await (const message of this.messages(afterAll, signal)) if ("outcome" in message) return message;
    throw new BoraError("interrupted", `sweep ${this.sweepId} is no longer followed`, {
      hint: "run the same command again to follow it, or bora status to see where it is",
    });
  }

  async result(options?: CallOptions): Promise<SweepResults> {
    return resultOf(await this.outcome(options));
  }

  async send(command: SweepCommand): Promise<void> {
    const request = { method: "POST", body: toJson(command), signal: this.left } as const;
    await ask(this.address, controllerPaths.commands(this.sweepId), request);
  }

  cancel(): Promise<void> {
    return this.send({ verb: "cancel" });
  }

  abandon(): void {
    this.abandoned.abort();
  }

  /** Events, then the outcome; a broken connection is made again from the last position, a few times. */
  private async *messages(afterPosition: number, signal?: AbortSignal): AsyncIterable<SweepEvent | SweepOutcome> {
    const until = eitherSignal(this.left, signal);
    let position = afterPosition;
    let failures = 0;
    while (!this.left.aborted) {
      signal?.throwIfAborted();
      try {
        for await (const message of this.connection(position, until)) {
          failures = 0;
          if ("outcome" in message) this.ended = message;
          yield message;
          if ("outcome" in message) return;
          position = message.position;
        }
      } catch (error) {
        if (this.left.aborted) return;
        signal?.throwIfAborted();
        if (error instanceof BoraError && error.code !== "interrupted") throw error;
        if (failures >= reconnectDelays.length) throw error;
      }
      const waitMs = reconnectDelays[Math.min(failures, reconnectDelays.length - 1)];
      await delay(waitMs, undefined, { signal: until }).catch(() => undefined); // the loop looks at the signals
      failures += 1;
    }
  }

  private async *connection(afterPosition: number, signal: AbortSignal): AsyncIterable<SweepEvent | SweepOutcome> {
    const request = { headers: { "last-event-id": String(afterPosition) }, signal };
    const path = controllerPaths.events(this.sweepId);
    for await (const { event, data } of askEvents(this.address, path, request)) {
      if (event === "outcome") yield SweepOutcome.parse(JSON.parse(data));
      else if (event === "event") yield decodeSweepEvent(data);
      else if (event === "failed") throw failureIn(data);
    }
  }
}
