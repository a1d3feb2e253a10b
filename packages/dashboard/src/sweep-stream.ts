import type { PassThrough, Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { toBoraError } from "@bora/contracts";
import type { SweepHandle } from "@bora/sdk";
import { controllerApi, encodeSweepEvent } from "@bora/sdk/controller";
import { refusalOf } from "./http-errors.js";
import { frame, openStream } from "./server-sent-events.js";

async function write(out: PassThrough, text: string): Promise<void> {
  if (out.write(text) || out.destroyed) return;
  await new Promise<void>((resolve) => {
    out.once("drain", resolve);
    out.once("close", resolve);
  });
}

async function pour(handle: SweepHandle, afterPosition: number, out: PassThrough): Promise<void> {
  for await (const event of handle.events(afterPosition)) {
    if (out.destroyed) return;
    await write(out, frame("event", encodeSweepEvent(event), event.position));
  }
  const ended = await handle.outcome().then(
    (outcome) => frame("outcome", controllerApi.toJson(outcome)),
    (error: unknown) => frame("failed", JSON.stringify(refusalOf(error))),
  );
  await write(out, ended);
  out.end();
}

/** Server-sent events of a sweep: `event` with the position as id, then one `outcome` (or `failed`) and the end. */
export function sweepStream(handle: SweepHandle, afterPosition: number): { stream: Readable; closed: Promise<void> } {
  const stream = openStream();
  const closed = finished(stream, { readable: true }).catch(() => undefined);
  pour(handle, afterPosition, stream).catch((error: unknown) => stream.destroy(toBoraError(error)));
  return { stream, closed };
}
