import { BoraError, type wire } from "@bora/contracts";
import { EventOrder } from "./event-order.js";
import type { LiveEvents } from "./live-events.js";

/** Where a run's events come from, and what is known of it meanwhile. */
export interface EventSources {
  /** The log after a seq; with `follow` also what is still to come until the trainer lets go of the run. */
  log(afterSeq: number, follow: boolean, signal: AbortSignal): AsyncIterable<wire.Event>;
  /** null: only the log. */
  live: LiveEvents | null;
  /** What the trainer last said of this run (Start, RenewLease); attempt null: any. */
  known(): { attempt: number | null; lastSeq: number; ended: boolean };
}

export const endsRun = (event: wire.Event): boolean =>
  event.body?.$case === "runDone" || event.body?.$case === "runFailed";

/**
 * A run's events from `afterSeq + 1`, in order, each once, until the run ends or the signal aborts. Follows the log until
 * the live source is connected, then lives on that: a gap, a new connection, or a trainer that is ahead while nothing
 * arrives sends it back to the log. Holds at most 1,024 events, and reads no faster than its consumer.
 * Throws event_conflict when the log has no event that is known to exist, stale_attempt when a later attempt wrote it.
 */
export async function* readInOrder(
  sources: EventSources,
  afterSeq: number,
  signal: AbortSignal,
): AsyncGenerator<wire.Event, void, undefined> {
  const order = new EventOrder(afterSeq);
  let connection = 0;
  while (!signal.aborted) {
    const { live } = sources;
    const follow = live === null || !live.connected;
    if (live !== null) connection = live.connections;
    const log = yield* readLog(sources, order, follow, signal);
    if (log === "run ended" || signal.aborted || live === null) return;
    if (follow && log === "read") return; // the trainer let go of the run without a last event
    if (!follow && (yield* readLive(sources, live, connection, order, signal))) return;
  }
}

/** Delivers from the log, until its end or until the live source is connected. */
async function* readLog(
  sources: EventSources,
  order: EventOrder,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<wire.Event, "run ended" | "read" | "connected", undefined> {
  const connected = follow ? sources.live?.untilConnected() : undefined;
  const until = connected === undefined ? signal : AbortSignal.any([signal, connected]);
  const before = order.expected;
  try {
    for await (const event of sources.log(order.expected - 1, follow, until)) {
      checkAttempt(event, sources.known().attempt);
      for (const ready of order.offer(event, null)) {
        yield ready;
        if (endsRun(ready)) return "run ended";
      }
    }
  } catch (thrown) {
    if (!until.aborted) throw thrown;
  }
  if (until.aborted) return "connected";
  if (order.held > 0 && order.expected === before) throw missingInLog(order);
  return "read";
}

/** Delivers live events until the log is needed (false) or the run has ended (true). */
async function* readLive(
  sources: EventSources,
  live: LiveEvents,
  connection: number,
  order: EventOrder,
  signal: AbortSignal,
): AsyncGenerator<wire.Event, boolean, undefined> {
  while (!signal.aborted && live.connected && live.connections === connection) {
    const event = await live.next();
    const { attempt, lastSeq, ended } = sources.known();
    if (event !== null) {
      for (const ready of order.offer(event, attempt)) {
        yield ready;
        if (endsRun(ready)) return true;
      }
      if (order.behind) return false;
      continue;
    }
    order.noteLastSeq(lastSeq);
    if (order.behind) return false;
    if (ended) return true;
  }
  return false;
}

function checkAttempt(event: wire.Event, attempt: number | null): void {
  if (attempt === null || event.attempt <= attempt) return;
  throw new BoraError(
    "stale_attempt",
    `event ${event.seq} of run ${event.runId} is of attempt ${event.attempt}, ours is ${attempt}`,
    { hint: "another controller has taken the run over: follow that one" },
  );
}

function missingInLog(order: EventOrder): BoraError {
  return new BoraError(
    "event_conflict",
    `the trainer's log has no event ${order.expected}, but later ones were announced`,
    {
      hint: "its event file is damaged or was replaced: retry the trials of this run",
    },
  );
}
