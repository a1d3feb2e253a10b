/** Tables of the log and of the projections that the same transaction maintains. Times are milliseconds since 1970. */
export interface Tables {
  events: EventRow;
  runs: RunRow;
  sweeps: SweepRow;
  finished_trials: FinishedTrialRow;
  snapshots: SnapshotRow;
  writer: WriterRow;
  schema_version: { version: number };
}

export interface EventRow {
  position: number;
  sweep_id: string;
  run_id: string;
  seq: number;
  attempt: number;
  stream: "trainer" | "control";
  kind: string;
  body: Uint8Array; // a trainer's event as protobuf, a control event as JSON text
  recorded_at_ms: number;
}

/** Where a stream stands; `attempt` is the last granted, 0 in a control stream. */
export interface RunRow {
  run_id: string;
  sweep_id: string;
  last_seq: number;
  attempt: number;
}

export interface SweepRow {
  sweep_id: string;
  name: string;
  planned_at_ms: number;
  position: number;
}

/** Both facts may come first: they are in two streams. */
export interface FinishedTrialRow {
  trial_id: string;
  run_id: string;
  sweep_id: string;
  position: number | null; // of trial_done, once it is stored
  fetched: 0 | 1; // its files are in the sweep's folder
}

/** What a sweep's events up to a position were folded into. */
export interface SnapshotRow {
  sweep_id: string;
  position: number;
  version: number;
  body: Uint8Array;
}

/** The one row that fences writers: an append under another epoch than this one is refused. */
export interface WriterRow {
  id: 1;
  epoch: number;
  pid: number;
  host: string;
  since_ms: number;
}
