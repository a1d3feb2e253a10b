import { hostname } from "node:os";
import { admit } from "./admission.js";
import { fromRow, thinning } from "./event-row.js";
import { project } from "./projections.js";
import type { EventRow, RunRow } from "./schema.js";
import type {
  EventQuery,
  NewEvent,
  Snapshot,
  Store,
  StoredEvent,
  StoreHolder,
  StoreReader,
  StoreWriter,
  SweepSummary,
} from "./store.js";
import { storeBusy, takenOver } from "./writer-lock.js";

/** What lasts between two openings of an in-memory store. */
export class MemoryStorage {
  readonly rows: EventRow[] = [];
  readonly runs = new Map<string, RunRow>();
  readonly snapshots = new Map<string, Snapshot>();
  epoch = 0;
  holder: StoreHolder | null = null;
}

/** A store in memory, for tests: the same contract as on disk, but for the disk. Throws store_busy as the others do. */
export function memoryStore(storage = new MemoryStorage(), now: () => number = Date.now): Store {
  if (storage.holder !== null) throw storeBusy("this storage", storage.holder);
  storage.epoch += 1;
  storage.holder = { pid: process.pid, host: hostname(), sinceMs: now() };
  return new MemoryStore(storage, now);
}

/** Reads what is in a storage, by itself an empty store. */
export const memoryReader = (storage = new MemoryStorage()): StoreReader => new MemoryReader(storage);

/** Nothing here is indexed: every answer is looked up in the log itself, which the other drivers are held against. */
class MemoryReader implements StoreReader {
  constructor(protected readonly storage: MemoryStorage) {}

  async *read(query: EventQuery): AsyncGenerator<StoredEvent> {
    const { sweepId, runId, afterPosition = 0, aboutAtMost = Infinity, newest = Infinity } = query;
    const found = this.storage.rows
      .slice(afterPosition)
      .filter((row) => sweepId === undefined || row.sweep_id === sweepId)
      .filter((row) => runId === undefined || row.run_id === runId);
    const every = thinning(found.length, aboutAtMost);
    const kept = found.filter((row) => row.kind !== "stepsDone" || row.seq % every === 0);
    for (const row of kept.slice(Math.max(0, kept.length - newest))) yield fromRow(row);
  }

  async lastSeq(runId: string): Promise<number> {
    return this.storage.rows.findLast((row) => row.run_id === runId)?.seq ?? 0;
  }

  async sweeps(): Promise<SweepSummary[]> {
    const sweeps = new Map<string, SweepSummary>();
    for (const projected of this.projections()) {
      if (projected.table !== "sweeps" || sweeps.has(projected.row.sweep_id)) continue;
      const { row } = projected;
      sweeps.set(row.sweep_id, { sweepId: row.sweep_id, name: row.name, plannedAtMs: row.planned_at_ms });
    }
    return [...sweeps.values()].reverse();
  }

  async finishedTrial(trialId: string): Promise<{ sweepId: string; runId: string } | null> {
    const facts = this.projections().flatMap(({ table, row }) =>
      table === "finished_trials" && row.trial_id === trialId ? [row] : [],
    );
    const fetched = new Set(facts.filter((fact) => fact.fetched === 1).map((fact) => fact.run_id));
    const done = facts.find((fact) => fact.position !== null && fetched.has(fact.run_id));
    return done === undefined ? null : { sweepId: done.sweep_id, runId: done.run_id };
  }

  async writer(): Promise<StoreWriter | null> {
    const { holder, rows } = this.storage;
    return holder === null ? null : { holder, sweepId: rows.at(-1)?.sweep_id ?? null };
  }

  async snapshot(sweepId: string, version: number): Promise<Uint8Array | null> {
    const kept = this.storage.snapshots.get(sweepId);
    return kept?.version === version ? kept.body : null;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  private projections() {
    return this.storage.rows.flatMap((row) => project(fromRow(row)) ?? []);
  }
}

class MemoryStore extends MemoryReader implements Store {
  private readonly epoch: number;

  constructor(
    storage: MemoryStorage,
    private readonly now: () => number,
  ) {
    super(storage);
    this.epoch = storage.epoch;
  }

  async append(events: readonly NewEvent[]): Promise<StoredEvent[]> {
    const { rows, runs, epoch } = this.storage;
    if (epoch !== this.epoch) throw takenOver(this.epoch);
    const admitted = admit(events, {
      runs,
      stored: (runId, seq) => rows.find((row) => row.run_id === runId && row.seq === seq),
    });
    for (const [runId, run] of admitted.runs) runs.set(runId, run);
    const recordedAtMs = this.now();
    const placed = admitted.fresh.map((row, i) => ({
      ...row,
      position: rows.length + 1 + i,
      recorded_at_ms: recordedAtMs,
    }));
    rows.push(...placed);
    return placed.map(fromRow);
  }

  async keepSnapshot(snapshot: Snapshot): Promise<void> {
    if (this.storage.epoch !== this.epoch) throw takenOver(this.epoch);
    this.storage.snapshots.set(snapshot.sweepId, snapshot);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    if (this.storage.epoch === this.epoch) this.storage.holder = null;
  }
}
