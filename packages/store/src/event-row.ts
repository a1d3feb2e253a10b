import { isDeepStrictEqual } from "node:util";
import { BoraError, decodeControlEvent, encodeControlEvent, wire } from "@bora/contracts";
import type { EventRow } from "./schema.js";
import type { EventBody, NewEvent, StoredEvent } from "./store.js";

/** An event as it is written, before it has a position. */
export type UnplacedRow = Omit<EventRow, "position" | "recorded_at_ms">;

export function toRow(event: NewEvent): UnplacedRow {
  return {
    sweep_id: event.sweepId,
    run_id: event.runId,
    seq: event.seq,
    attempt: event.attempt,
    stream: event.body.stream,
    kind: kindOf(event.body),
    body: encodeBody(event.body),
  };
}

export function fromRow(row: EventRow): StoredEvent {
  return {
    position: row.position,
    sweepId: row.sweep_id,
    runId: row.run_id,
    seq: row.seq,
    attempt: row.attempt,
    body: decodeBody(row),
    recordedAtMs: row.recorded_at_ms,
  };
}

/** Whether two rows of one (run, seq) say the same. Protobuf maps have no order, so unequal bytes decide nothing yet. */
export function sameRow(a: UnplacedRow, b: UnplacedRow): boolean {
  if (a.sweep_id !== b.sweep_id || a.attempt !== b.attempt || a.stream !== b.stream || a.kind !== b.kind) return false;
  return Buffer.from(a.body).equals(b.body) || isDeepStrictEqual(decodeBody(a), decodeBody(b));
}

/** Of the training windows one in so many is indexed, so that a log of millions is thinned without reading all of it. */
export const indexedWindows = 16;

/** One training window of how many is read where `events` are more than `aboutAtMost`; where that is few, of the indexed. */
export function thinning(events: number, aboutAtMost: number): number {
  const every = Math.max(1, Math.ceil(events / Math.max(1, aboutAtMost)));
  return every < indexedWindows ? every : indexedWindows * Math.ceil(every / indexedWindows);
}

const kindOf = (body: EventBody): string =>
  body.stream === "control" ? body.event.kind : (body.event.body?.$case ?? "empty");

const encodeBody = (body: EventBody): Uint8Array =>
  body.stream === "control"
    ? Buffer.from(encodeControlEvent(body.event), "utf8")
    : Buffer.from(wire.Event.encode(body.event).finish());

function decodeBody(row: UnplacedRow): EventBody {
  try {
    return row.stream === "control"
      ? { stream: "control", event: decodeControlEvent(Buffer.from(row.body).toString("utf8")) }
      : { stream: "trainer", event: wire.Event.decode(row.body) };
  } catch (cause) {
    throw new BoraError("store_unavailable", `event ${row.seq} of ${row.run_id} (${row.kind}) cannot be read`, {
      hint: "the store is damaged or was written by another version: restore a copy, or sweep into a new folder",
      cause,
    });
  }
}
