import { join } from "node:path";
import type { StoreLocation } from "@bora/store";
import Database from "better-sqlite3";
import pg from "pg";

/** Events of one run in the order of their numbers, as they lie in the table. */
export interface BulkRun {
  sweepId: string;
  runId: string;
  firstPosition: number;
  rows: { seq: number; kind: string; body: Buffer }[];
}

/**
 * Writes trainers' events into the table of a store that nobody has open, faster than a controller may: nothing has to
 * last, since it is thrown away. What follows from them in other tables is the run's last number.
 */
export interface BulkLoad extends AsyncDisposable {
  insert(run: BulkRun): Promise<void>;
}

const recordedAtMs = Date.UTC(2026, 0, 1);

export async function openBulkLoad(location: StoreLocation): Promise<BulkLoad> {
  return "dir" in location ? bulkSqlite(join(location.dir, "bora.sqlite")) : bulkPostgres(location.url);
}

function bulkSqlite(file: string): BulkLoad {
  const database = new Database(file);
  database.pragma("synchronous = OFF");
  const insert = database.prepare(
    "INSERT INTO events (position, sweep_id, run_id, seq, attempt, stream, kind, body, recorded_at_ms) VALUES (?, ?, ?, ?, 1, 'trainer', ?, ?, ?)",
  );
  const advance = database.prepare("UPDATE runs SET last_seq = ? WHERE run_id = ?");
  return {
    insert: ({ sweepId, runId, firstPosition, rows }) => {
      database.transaction(() => {
        for (const [place, { seq, kind, body }] of rows.entries())
          insert.run(firstPosition + place, sweepId, runId, seq, kind, body, recordedAtMs);
        advance.run(rows.at(-1)?.seq, runId);
      })();
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(void database.close()),
  };
}

const rowsAtOnce = 10_000;

/** Without indices, which are made again at the end as they were. */
async function bulkPostgres(url: string): Promise<BulkLoad> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("SET synchronous_commit TO off");
  const restore = await dropIndices(client);
  return {
    insert: async ({ sweepId, runId, firstPosition, rows }) => {
      for (let from = 0; from < rows.length; from += rowsAtOnce) {
        const some = rows.slice(from, from + rowsAtOnce);
        await client.query(
          "INSERT INTO events SELECT $1 + place - 1, $2, $3, seq, 1, 'trainer', kind, body, $4 FROM unnest($5::bigint[], $6::text[], $7::bytea[]) WITH ORDINALITY AS row (seq, kind, body, place)",
          [
            ...[firstPosition + from, sweepId, runId, recordedAtMs],
            ...[some.map(({ seq }) => seq), some.map(({ kind }) => kind), some.map(({ body }) => body)],
          ],
        );
      }
      await client.query("UPDATE runs SET last_seq = $1 WHERE run_id = $2", [rows.at(-1)?.seq, runId]);
    },
    [Symbol.asyncDispose]: async () => {
      for (const statement of restore) await client.query(statement);
      await client.query("ANALYZE events"); // as its own daemon does, in its own time
      await client.end();
    },
  };
}

/** Drops what an index of `events` is, but for its primary key; the statements that make it again. */
async function dropIndices(client: pg.Client): Promise<string[]> {
  const constraints = await client.query<{ name: string; definition: string }>(
    "SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype = 'u'",
  );
  for (const { name } of constraints.rows) await client.query(`ALTER TABLE events DROP CONSTRAINT ${name}`);
  const indices = await client.query<{ name: string; definition: string }>(
    "SELECT indexname AS name, indexdef AS definition FROM pg_indexes WHERE tablename = 'events' AND schemaname = current_schema() AND indexname <> 'events_pkey'",
  );
  for (const { name } of indices.rows) await client.query(`DROP INDEX ${name}`);
  return [
    ...constraints.rows.map(({ name, definition }) => `ALTER TABLE events ADD CONSTRAINT ${name} ${definition}`),
    ...indices.rows.map(({ definition }) => definition),
  ];
}
