import { BoraError, controlStream } from "@bora/contracts";
import { sameRow, toRow, type UnplacedRow } from "./event-row.js";
import type { RunRow } from "./schema.js";
import type { NewEvent } from "./store.js";

/** What the log holds about the streams of a batch. */
export interface KnownStreams {
  runs: ReadonlyMap<string, RunRow>;
  /** The stored row of (runId, seq); asked only for seq up to the run's last. */
  stored(runId: string, seq: number): UnplacedRow | undefined;
}

export interface Admitted {
  fresh: UnplacedRow[];
  /** Rows of `runs` that change. */
  runs: Map<string, RunRow>;
}

/** The streams that a batch touches: its own, and those its leases speak of. */
export function streamsOf(events: readonly NewEvent[]): string[] {
  return [...new Set(events.flatMap((event) => [event.runId, ...leasesOf(event).map((lease) => lease.runId)]))];
}

/**
 * The rules of the log, for every driver: which events of a batch are new, which are known, and which are refused.
 * Throws event_conflict and stale_attempt.
 */
export function admit(events: readonly NewEvent[], known: KnownStreams): Admitted {
  const admitted: Admitted = { fresh: [], runs: new Map() };
  const batch = new Map<string, UnplacedRow>();
  for (const event of events) {
    requireOneAddress(event);
    const row = toRow(event);
    const run = admitted.runs.get(event.runId) ?? known.runs.get(event.runId) ?? firstOf(event);
    if (event.seq <= run.last_seq) {
      requireSame(row, batch.get(keyOf(row)) ?? known.stored(row.run_id, row.seq), run);
      continue;
    }
    requireNext(row, run);
    batch.set(keyOf(row), row);
    admitted.fresh.push(row);
    admitted.runs.set(event.runId, { ...run, last_seq: event.seq });
    for (const lease of leasesOf(event)) admitted.runs.set(lease.runId, granted(event, lease, admitted, known));
  }
  return admitted;
}

const keyOf = (row: UnplacedRow): string => `${row.seq} ${row.run_id}`;

const conflict = (message: string): BoraError =>
  new BoraError("event_conflict", message, {
    hint: "two processes number one stream, or the store is not this sweep's: stop all of them and run the sweep again",
  });

const leasesOf = ({ body }: NewEvent) =>
  body.stream === "control" && body.event.kind === "lease_granted" ? [body.event] : [];

function requireOneAddress({ sweepId, runId, seq, attempt, body }: NewEvent): void {
  const equal =
    body.stream === "control"
      ? runId === controlStream(sweepId) && attempt === 0
      : body.event.runId === runId && body.event.seq === seq && body.event.attempt === attempt;
  if (!equal || !Number.isSafeInteger(seq) || seq < 1) {
    throw conflict(`event ${seq} of ${runId} (attempt ${attempt}) is addressed otherwise than its body says`);
  }
}

function firstOf({ sweepId, runId, seq, body }: NewEvent): RunRow {
  if (body.stream === "trainer") throw conflict(`event ${seq} of run ${runId} comes before any lease was granted`);
  return { run_id: runId, sweep_id: sweepId, last_seq: 0, attempt: 0 };
}

function requireSame(row: UnplacedRow, stored: UnplacedRow | undefined, run: RunRow): void {
  if (stored !== undefined && sameRow(row, stored)) return;
  requireCurrent(row, run); // an old trainer that counts on under a new lease is late, not contradictory
  throw conflict(`event ${row.seq} of ${row.run_id} (${row.kind}) differs from the stored one (${stored?.kind})`);
}

function requireNext(row: UnplacedRow, run: RunRow): void {
  requireCurrent(row, run);
  if (row.attempt > run.attempt) {
    throw conflict(
      `event ${row.seq} of ${row.run_id} is of attempt ${row.attempt}, the last granted is ${run.attempt}`,
    );
  }
  if (row.sweep_id !== run.sweep_id) {
    throw conflict(`event ${row.seq} of ${row.run_id} names sweep ${row.sweep_id}, the run is of ${run.sweep_id}`);
  }
  if (row.seq !== run.last_seq + 1) {
    throw conflict(`event ${row.seq} of ${row.run_id} leaves a gap: the last stored is ${run.last_seq}`);
  }
}

function requireCurrent(row: UnplacedRow, run: RunRow): void {
  if (row.attempt >= run.attempt) return;
  throw new BoraError(
    "stale_attempt",
    `event ${row.seq} of ${row.run_id} is of attempt ${row.attempt}, attempt ${run.attempt} holds the run`,
    { hint: "a trainer whose lease has lapsed still sends: nothing is lost, the new attempt goes on" },
  );
}

function granted(
  event: NewEvent,
  lease: { runId: string; attempt: number },
  admitted: Admitted,
  known: KnownStreams,
): RunRow {
  const run = admitted.runs.get(lease.runId) ?? known.runs.get(lease.runId);
  if (run !== undefined && (lease.attempt < run.attempt || run.sweep_id !== event.sweepId)) {
    throw conflict(
      `attempt ${lease.attempt} of run ${lease.runId} granted by ${event.sweepId}, but ${run.sweep_id} granted ${run.attempt}`,
    );
  }
  return { run_id: lease.runId, sweep_id: event.sweepId, last_seq: run?.last_seq ?? 0, attempt: lease.attempt };
}
