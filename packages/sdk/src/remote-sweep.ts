import { setTimeout as delay } from "node:timers/promises";
import { BoraError, isErrorCode } from "@bora/contracts";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { ApiError, controllerPaths, toJson } from "./controller-api.js";
import { ask, type ControllerAddress } from "./http-client.js";
import { SweepOutcome, type SweepCommand, type SweepHandle } from "./lab.js";
import { decodeSweepEvent, type SweepEvent } from "./sweep-event.js";

const reconnectDelays = [100, 500, 2_000]; // ms

/** A sweep that another process runs, followed over server-sent events. */
export class RemoteSweep implements SweepHandle {
  readonly at = "elsewhere";
  private readonly left = new AbortController();
  private ended: SweepOutcome | null = null; // the controller leaves soon after it has said so

  constructor(
    private readonly address: ControllerAddress,
    readonly sweepId: string,
  ) {}

  async *events(afterPosition = 0): AsyncIterable<SweepEvent> {
    for await (const message of this.messages(afterPosition)) if ("position" in message) yield message;
  }

  async outcome(): Promise<SweepOutcome> {
    if (this.ended !== null) return this.ended;
    for await (const message of this.messages(Number.MAX_SAFE_INTEGER)) if ("outcome" in message) return message;
    throw new BoraError("interrupted", `sweep ${this.sweepId} is no longer followed`, {
      hint: "run the same command again to follow it, or bora status to see where it is",
    });
  }

  async send(command: SweepCommand): Promise<void> {
    await ask(this.address, controllerPaths.commands(this.sweepId), { method: "POST", body: toJson(command) });
  }

  abandon(): void {
    this.left.abort();
  }

  /** Events, then the outcome; a broken connection is made again from the last position, a few times. */
  private async *messages(afterPosition: number): AsyncIterable<SweepEvent | SweepOutcome> {
    let position = afterPosition;
    let failures = 0;
    while (!this.left.signal.aborted) {
      try {
        for await (const message of this.connection(position)) {
          failures = 0;
          if ("outcome" in message) this.ended = message;
          yield message;
          if ("outcome" in message) return;
          position = message.position;
        }
      } catch (error) {
        if (this.left.signal.aborted) return;
        if (error instanceof BoraError && error.code !== "interrupted") throw error;
        if (failures >= reconnectDelays.length) throw error;
      }
      await delay(reconnectDelays[Math.min(failures, reconnectDelays.length - 1)]);
      failures += 1;
    }
  }

  private async *connection(afterPosition: number): AsyncIterable<SweepEvent | SweepOutcome> {
    const headers = { accept: "text/event-stream", "last-event-id": String(afterPosition) };
    const response = await ask(this.address, controllerPaths.events(this.sweepId), {
      headers,
      signal: this.left.signal,
    });
    if (response.body === null) return;
    const stream = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    for await (const { event, data } of stream) {
      if (event === "outcome") yield SweepOutcome.parse(JSON.parse(data));
      else if (event === "event") yield decodeSweepEvent(data);
      else if (event === "failed") throw controllersError(data);
    }
  }
}

function controllersError(data: string): BoraError {
  const { code, message, hint } = ApiError.parse(JSON.parse(data)).error;
  return new BoraError(isErrorCode(code) ? code : "internal", message, { hint });
}
