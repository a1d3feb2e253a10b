import { hostname } from "node:os";
import { sql, type Kysely, type SelectQueryBuilder, type Transaction } from "kysely";
import { admit, streamsOf, type Admitted } from "./admission.js";
import { withStoreErrors } from "./driver-errors.js";
import { fromRow, indexedWindows, thinning, type UnplacedRow } from "./event-row.js";
import { toldCondition } from "./migrations.js";
import { applyProjection, project } from "./projections.js";
import type { RunRow, Tables } from "./schema.js";
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
import { takenOver } from "./writer-lock.js";

const PAGE_ROWS = 1_000;
const INSERT_ROWS = 500; // nine parameters a row stay far below either database's limit

/** The log in a SQL database, to read. */
export class SqlStoreReader implements StoreReader {
  constructor(
    protected readonly db: Kysely<Tables>,
    private readonly isHeld: () => Promise<boolean>, // whether some process is its writer now
    private readonly close: () => Promise<void>,
  ) {}

  async *read(asked: EventQuery): AsyncGenerator<StoredEvent> {
    const { sweepId, runId, afterPosition = 0, newest } = asked;
    let found = this.db.selectFrom("events");
    if (sweepId !== undefined) found = found.where("sweep_id", "=", sweepId);
    if (runId !== undefined) found = found.where("run_id", "=", runId);
    const every = await this.thinning(asked, found.where("position", ">", afterPosition));
    if (every >= indexedWindows) found = found.where(sql<boolean>`${sql.raw(toldCondition)}`);
    if (every > 1) found = found.where((is) => is.or([is("kind", "<>", "stepsDone"), is(sql`seq % ${every}`, "=", 0)]));
    if (newest !== undefined) {
      const last = found.where("position", ">", afterPosition).orderBy("position", "desc").limit(newest);
      const rows = await withStoreErrors(() => last.selectAll().execute());
      for (const row of rows.reverse()) yield fromRow(row);
      return;
    }
    const query = found.selectAll().orderBy("position").limit(PAGE_ROWS);
    for (let after = afterPosition; ;) {
      const rows = await withStoreErrors(() => query.where("position", ">", after).execute());
      for (const row of rows) yield fromRow(row);
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE_ROWS) return;
      after = last.position;
    }
  }

  /** One window of how many is read: docs of EventQuery.aboutAtMost. */
  private async thinning(
    { sweepId, runId, afterPosition = 0, aboutAtMost }: EventQuery,
    found: SelectQueryBuilder<Tables, "events", unknown>,
  ): Promise<number> {
    if (aboutAtMost === undefined) return 1;
    if (sweepId !== undefined && runId === undefined && afterPosition === 0)
      return thinning(await this.eventsOf(sweepId), aboutAtMost);
    const counted = found.select((e) => e.fn.countAll<number>().as("events"));
    const { events } = await withStoreErrors(() => counted.executeTakeFirstOrThrow());
    return thinning(Number(events), aboutAtMost);
  }

  /** A sweep's events, counted by what its runs have: their numbers have no gaps. */
  private async eventsOf(sweepId: string): Promise<number> {
    const runs = this.db.selectFrom("runs").select("last_seq").where("sweep_id", "=", sweepId);
    return (await withStoreErrors(() => runs.execute())).reduce((sum, { last_seq }) => sum + last_seq, 0);
  }

  async lastSeq(runId: string): Promise<number> {
    const run = this.db.selectFrom("runs").select("last_seq").where("run_id", "=", runId);
    return (await withStoreErrors(() => run.executeTakeFirst()))?.last_seq ?? 0;
  }

  async sweeps(): Promise<SweepSummary[]> {
    const rows = this.db.selectFrom("sweeps").selectAll().orderBy("position", "desc");
    return (await withStoreErrors(() => rows.execute())).map((row) => ({
      sweepId: row.sweep_id,
      name: row.name,
      plannedAtMs: row.planned_at_ms,
    }));
  }

  async finishedTrial(trialId: string): Promise<{ sweepId: string; runId: string } | null> {
    const finished = this.db
      .selectFrom("finished_trials")
      .select(["sweep_id", "run_id"])
      .where("trial_id", "=", trialId)
      .where("fetched", "=", 1)
      .where("position", "is not", null)
      .orderBy("position")
      .limit(1);
    const row = await withStoreErrors(() => finished.executeTakeFirst());
    return row === undefined ? null : { sweepId: row.sweep_id, runId: row.run_id };
  }

  async writer(): Promise<StoreWriter | null> {
    return withStoreErrors(async () => {
      if (!(await this.isHeld())) return null;
      const last = this.db.selectFrom("events").select("sweep_id").orderBy("position", "desc").limit(1);
      return { holder: await readHolder(this.db), sweepId: (await last.executeTakeFirst())?.sweep_id ?? null };
    });
  }

  async snapshot(sweepId: string, version: number): Promise<Uint8Array | null> {
    const kept = this.db
      .selectFrom("snapshots")
      .select("body")
      .where("sweep_id", "=", sweepId)
      .where("version", "=", version);
    return (await withStoreErrors(() => kept.executeTakeFirst()))?.body ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export interface SqlWriter {
  db: Kysely<Tables>;
  epoch: number;
  now: () => number; // ms since 1970
  /** Throws when the lock that makes this the one writer is not held and cannot be had again. */
  requireLock: () => Promise<void>;
  close: () => Promise<void>;
}

/** The log in a SQL database, held by its one writer. */
export class SqlStore extends SqlStoreReader implements Store {
  constructor(private readonly own: SqlWriter) {
    super(own.db, () => Promise.resolve(true), own.close);
  }

  append(events: readonly NewEvent[]): Promise<StoredEvent[]> {
    return withStoreErrors(async () => {
      await this.own.requireLock();
      if (events.length === 0) return [];
      return this.db.transaction().execute(async (transaction) => {
        await requireEpoch(transaction, this.own.epoch);
        const runs = await readRuns(transaction, streamsOf(events));
        const stored = await readKnown(transaction, events, runs);
        const admitted = admit(events, { runs, stored: (runId, seq) => stored.get(`${seq} ${runId}`) });
        return insert(transaction, admitted, this.own.now());
      });
    });
  }

  keepSnapshot({ sweepId: sweep_id, ...snapshot }: Snapshot): Promise<void> {
    return withStoreErrors(async () => {
      await this.own.requireLock();
      await this.db.transaction().execute(async (transaction) => {
        await requireEpoch(transaction, this.own.epoch);
        await transaction
          .insertInto("snapshots")
          .values({ sweep_id, ...snapshot })
          .onConflict((conflict) => conflict.column("sweep_id").doUpdateSet(snapshot))
          .execute();
      });
    });
  }
}

/** Makes this process the writer in the database's own eyes: whoever appends under an older epoch is refused. */
export async function raiseEpoch(db: Kysely<Tables>, now: () => number): Promise<number> {
  const { epoch } = await db
    .updateTable("writer")
    .set((row) => ({ epoch: row("epoch", "+", 1), pid: process.pid, host: hostname(), since_ms: now() }))
    .returning("epoch")
    .executeTakeFirstOrThrow();
  return epoch;
}

/** Who raised the epoch last. */
export async function readHolder(db: Kysely<Tables>): Promise<StoreHolder | null> {
  const row = await db.selectFrom("writer").selectAll().executeTakeFirst();
  return row === undefined || row.epoch === 0 ? null : { pid: row.pid, host: row.host, sinceMs: row.since_ms };
}

/** Also takes the database's write lock at once, so that what the transaction reads next stays true. */
async function requireEpoch(transaction: Transaction<Tables>, epoch: number): Promise<void> {
  const { numUpdatedRows } = await transaction
    .updateTable("writer")
    .set({ epoch })
    .where("epoch", "=", epoch)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows === 1n) return;
  throw takenOver(epoch);
}

async function readRuns(transaction: Transaction<Tables>, runIds: string[]): Promise<Map<string, RunRow>> {
  const rows = await transaction.selectFrom("runs").selectAll().where("run_id", "in", runIds).execute();
  return new Map(rows.map((row) => [row.run_id, row]));
}

/** The stored rows that a batch delivers again, by `${seq} ${runId}`. */
async function readKnown(
  transaction: Transaction<Tables>,
  events: readonly NewEvent[],
  runs: Map<string, RunRow>,
): Promise<Map<string, UnplacedRow>> {
  const known = new Map<string, UnplacedRow>();
  for (const [runId, run] of runs) {
    const seqs = events.filter((e) => e.runId === runId && e.seq <= run.last_seq).map((e) => e.seq);
    if (seqs.length === 0) continue;
    const [first, last] = [seqs.reduce((a, b) => Math.min(a, b)), seqs.reduce((a, b) => Math.max(a, b))];
    const rows = await transaction
      .selectFrom("events")
      .selectAll()
      .where("run_id", "=", runId)
      .where("seq", ">=", first)
      .where("seq", "<=", last)
      .execute();
    for (const row of rows) known.set(`${row.seq} ${runId}`, row);
  }
  return known;
}

async function insert(transaction: Transaction<Tables>, admitted: Admitted, nowMs: number): Promise<StoredEvent[]> {
  if (admitted.fresh.length === 0) return [];
  const last = await transaction
    .selectFrom("events")
    .select((e) => e.fn.max("position").as("position"))
    .executeTakeFirst();
  const first = (last?.position ?? 0) + 1; // the epoch row is locked: no other writer can take these positions
  const rows = admitted.fresh.map((row, index) => ({ ...row, position: first + index, recorded_at_ms: nowMs }));
  for (let start = 0; start < rows.length; start += INSERT_ROWS) {
    const some = rows.slice(start, start + INSERT_ROWS);
    await transaction.insertInto("events").values(some).execute();
  }
  for (const run of admitted.runs.values()) {
    await transaction
      .insertInto("runs")
      .values(run)
      .onConflict((conflict) => conflict.column("run_id").doUpdateSet(run))
      .execute();
  }
  const stored = rows.map(fromRow); // what a reader will see, to the last digit
  for (const event of stored) {
    const projected = project(event);
    if (projected !== null) await applyProjection(transaction, projected);
  }
  return stored;
}
