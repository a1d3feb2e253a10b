import { ControlEvent, encodeControlEvent } from "@bora/contracts";
import type { StoredEvent } from "@bora/store";
import { z } from "zod";
import { RunEvent, runEvent } from "./run-event.js";

/** One stored event, as programs, `--json` lines and server-sent events carry it. @internal */
export const SweepEvent = z.object({
  position: z.number(),
  at: z.number().describe("milliseconds since 1970, when it was stored"),
  sweepId: z.string(),
  runId: z.string(),
  seq: z.number(),
  attempt: z.number(),
  event: z.union([RunEvent, ControlEvent]),
});
/**
 * One stored event as everybody outside the store sees it: `position` is the commit order over the whole store and the
 * id to resume from, `at` milliseconds since 1970, `event` a trainer's or the controller's, told apart by `kind`.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- its name, in messages and pages
export interface SweepEvent extends z.output<typeof SweepEvent> {}

/** Throws api_mismatch for a trainer's event of a newer version. */
export function sweepEvent(stored: StoredEvent): SweepEvent {
  const { position, recordedAtMs, sweepId, runId, seq, attempt, body } = stored;
  const event = body.stream === "control" ? body.event : runEvent(body.event);
  return { position, at: recordedAtMs, sweepId, runId, seq, attempt, event };
}

const runKinds: ReadonlySet<string> = new Set(RunEvent.options.map(({ shape }) => shape.kind.value));
const isControl = (event: SweepEvent["event"]): event is ControlEvent => !runKinds.has(event.kind);

/** One line of JSON; infinity is "inf". */
export function encodeSweepEvent({ event, ...envelope }: SweepEvent): string {
  const body: unknown = isControl(event) ? JSON.parse(encodeControlEvent(event)) : event;
  return JSON.stringify({ ...envelope, event: body });
}

export const decodeSweepEvent = (text: string): SweepEvent => SweepEvent.parse(JSON.parse(text));
