import type { ControlEvent, wire } from "@bora/contracts";

/** What the store keeps: a trainer's event, or a decision of the controller. */
export type EventBody = { stream: "trainer"; event: wire.Event } | { stream: "control"; event: ControlEvent };

/** An event before it has a place in the log. `runId` of a control event is controlStream(sweepId). */
export interface NewEvent {
  sweepId: string;
  runId: string;
  seq: number; // per run, from 1, no gaps
  attempt: number; // 0 in a control stream
  body: EventBody;
}

export interface StoredEvent extends NewEvent {
  position: number; // commit order over the whole store, from 1, no gaps
  recordedAtMs: number;
}

export interface EventQuery {
  sweepId?: string;
  runId?: string;
  afterPosition?: number;
  /** Only so many, the newest. */
  newest?: number;
  /** Where there are more events, every n-th training window is read, and everything else: enough for a picture. */
  aboutAtMost?: number;
}

/** What somebody made of a sweep's events up to a position. It can be made again from them, so it may be lost. */
export interface Snapshot {
  sweepId: string;
  position: number;
  version: number; // of whoever made it
  body: Uint8Array;
}

export interface SweepSummary {
  sweepId: string;
  name: string;
  plannedAtMs: number;
}

/** The log to read. Any number of processes read it while one controller writes. */
export interface StoreReader extends AsyncDisposable {
  /** Events in commit order. */
  read(query: EventQuery): AsyncIterable<StoredEvent>;
  /** The last stored seq of a run, 0 when there is none. */
  lastSeq(runId: string): Promise<number>;
  /** Every planned sweep, newest first. */
  sweeps(): Promise<SweepSummary[]>;
  /** Who holds the writer now, in this process or another; null when nobody does. */
  writer(): Promise<StoreWriter | null>;
  /**
   * The oldest run that finished a trial, or null: finished trials are shared by all sweeps of one store. Finished
   * means that `trial_done` and the controller's `artifacts_fetched` for it are both stored, so its files are there.
   */
  finishedTrial(trialId: string): Promise<{ sweepId: string; runId: string } | null>;
  /** The body of a sweep's newest snapshot; null where there is none of this version. */
  snapshot(sweepId: string, version: number): Promise<Uint8Array | null>;
}

/**
 * The durable log, held by the one controller.
 * Contract: an appended event survives a crash; an existing (runId, seq) with equal content is a no-op, with other
 * content `event_conflict`; so is a gap in seq. A run belongs to the sweep and the attempt of its last
 * `lease_granted`: a trainer's new event of an older attempt is `stale_attempt`, of one never granted
 * `event_conflict`. A batch is stored whole or not at all.
 */
export interface Store extends StoreReader {
  /**
   * Appends in one transaction; returns what was new, in order and exactly as it will be read. Throws event_conflict, stale_attempt,
   * store_unavailable, disk_full, and store_busy when another controller has taken the store over.
   */
  append(events: readonly NewEvent[]): Promise<StoredEvent[]>;
  /** Replaces a sweep's snapshot. Throws store_unavailable, disk_full, store_busy. */
  keepSnapshot(snapshot: Snapshot): Promise<void>;
}

/** A writer at work: the last that took the store, and the sweep whose events came last; null where there is none yet. */
export interface StoreWriter {
  holder: StoreHolder | null;
  sweepId: string | null;
}

/** Who holds a store's writer; the `cause` of store_busy. */
export interface StoreHolder {
  pid: number;
  host: string;
  sinceMs: number;
}
