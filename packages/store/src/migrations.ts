import { BoraError } from "@bora/contracts";
import { sql, type Kysely, type Transaction } from "kysely";
import { indexedWindows } from "./event-row.js";
import type { Tables } from "./schema.js";

/** The words in which the two databases differ. */
export interface Dialect {
  integer: "integer" | "bigint"; // 64 bits
  bytes: "blob" | "bytea";
  /** Names of the tables where this store's are looked up. */
  tables(db: Kysely<Tables>): Promise<string[]>;
}

/** One step of the schema. Steps are only ever added, never changed: a released store has already taken them. */
export interface Migration {
  version: number;
  up(transaction: Transaction<Tables>, dialect: Dialect): Promise<void>;
}

export const migrations: readonly Migration[] = [
  { version: 1, up: createLog },
  { version: 2, up: addSnapshots },
];

/** Of the index `events_told`. A database takes the index only for a query that says the very same. */
export const toldCondition = `(kind <> 'stepsDone' or seq % ${indexedWindows} = 0)`;

const newest = (steps: readonly Migration[]): number => steps.at(-1)?.version ?? 0;

/** The schema's version, 0 when the database is empty. Throws store_newer, and out_not_empty when it is somebody else's. */
export async function schemaVersion(db: Kysely<Tables>, dialect: Dialect, steps = migrations): Promise<number> {
  const tables = await dialect.tables(db);
  if (tables.length === 0) return 0;
  if (!tables.includes("schema_version") || !tables.includes("events")) {
    throw new BoraError("out_not_empty", `the database has ${tables.length} tables that are not BoRA's`, {
      hint: "choose another folder with --out, or an empty database",
    });
  }
  const { version } = await db.selectFrom("schema_version").select("version").executeTakeFirstOrThrow();
  if (version > newest(steps)) {
    throw new BoraError("store_newer", `the store has schema ${version}, this BoRA knows ${newest(steps)}`, {
      hint: "use the BoRA version that wrote it, or a newer one; or sweep into a new folder with --out",
    });
  }
  return version;
}

/** Brings the schema to its newest version, a step a transaction. */
export async function migrate(db: Kysely<Tables>, dialect: Dialect, steps = migrations): Promise<void> {
  const version = await schemaVersion(db, dialect, steps);
  for (const step of steps) {
    if (step.version <= version) continue;
    await db.transaction().execute(async (transaction) => {
      await step.up(transaction, dialect);
      await transaction.updateTable("schema_version").set({ version: step.version }).execute();
    });
  }
}

/** Readers cannot migrate: an older schema is refused until a writer has been there. */
export async function requireReadable(
  db: Kysely<Tables>,
  dialect: Dialect,
  steps = migrations,
): Promise<"ours" | "empty"> {
  const version = await schemaVersion(db, dialect, steps);
  if (version === 0) return "empty";
  if (version === newest(steps)) return "ours";
  throw new BoraError("store_unavailable", `the store has schema ${version}, this BoRA reads ${newest(steps)}`, {
    hint: "run `bora resume` once: a controller brings the store up to date",
  });
}

async function createLog(transaction: Transaction<Tables>, { integer, bytes }: Dialect): Promise<void> {
  const schema = transaction.schema;
  const number = sql.raw<string>(integer);
  await schema
    .createTable("schema_version")
    .addColumn("version", number, (c) => c.notNull())
    .execute();
  await transaction.insertInto("schema_version").values({ version: 0 }).execute();
  await schema
    .createTable("events")
    .addColumn("position", number, (c) => c.primaryKey())
    .addColumn("sweep_id", "text", (c) => c.notNull())
    .addColumn("run_id", "text", (c) => c.notNull())
    .addColumn("seq", number, (c) => c.notNull())
    .addColumn("attempt", number, (c) => c.notNull())
    .addColumn("stream", "text", (c) => c.notNull())
    .addColumn("kind", "text", (c) => c.notNull())
    .addColumn("body", sql.raw<string>(bytes), (c) => c.notNull())
    .addColumn("recorded_at_ms", number, (c) => c.notNull())
    .addUniqueConstraint("events_run_seq", ["run_id", "seq"])
    .execute();
  await schema.createIndex("events_sweep").on("events").columns(["sweep_id", "position"]).execute();
  await schema.createIndex("events_run").on("events").columns(["run_id", "position"]).execute();
  await createProjections(transaction, number);
  await schema
    .createTable("writer")
    .addColumn("id", number, (c) => c.primaryKey())
    .addColumn("epoch", number, (c) => c.notNull())
    .addColumn("pid", number, (c) => c.notNull())
    .addColumn("host", "text", (c) => c.notNull())
    .addColumn("since_ms", number, (c) => c.notNull())
    .execute();
  await transaction.insertInto("writer").values({ id: 1, epoch: 0, pid: 0, host: "", since_ms: 0 }).execute();
}

async function createProjections(
  transaction: Transaction<Tables>,
  number: ReturnType<typeof sql.raw<string>>,
): Promise<void> {
  const schema = transaction.schema;
  await schema
    .createTable("runs")
    .addColumn("run_id", "text", (c) => c.primaryKey())
    .addColumn("sweep_id", "text", (c) => c.notNull())
    .addColumn("last_seq", number, (c) => c.notNull())
    .addColumn("attempt", number, (c) => c.notNull())
    .execute();
  await schema
    .createTable("sweeps")
    .addColumn("sweep_id", "text", (c) => c.primaryKey())
    .addColumn("name", "text", (c) => c.notNull())
    .addColumn("planned_at_ms", number, (c) => c.notNull())
    .addColumn("position", number, (c) => c.notNull())
    .execute();
  await schema
    .createTable("finished_trials")
    .addColumn("trial_id", "text", (c) => c.notNull())
    .addColumn("run_id", "text", (c) => c.notNull())
    .addColumn("sweep_id", "text", (c) => c.notNull())
    .addColumn("position", number)
    .addColumn("fetched", number, (c) => c.notNull())
    .addPrimaryKeyConstraint("finished_trials_key", ["trial_id", "run_id"])
    .execute();
}

/** What a log of millions of events is begun to be read from: folded states, and an index without most windows. */
async function addSnapshots({ schema }: Transaction<Tables>, { integer, bytes }: Dialect): Promise<void> {
  await schema
    .createTable("snapshots")
    .addColumn("sweep_id", "text", (c) => c.primaryKey())
    .addColumn("position", sql.raw<string>(integer), (c) => c.notNull())
    .addColumn("version", sql.raw<string>(integer), (c) => c.notNull())
    .addColumn("body", sql.raw<string>(bytes), (c) => c.notNull())
    .execute();
  await schema
    .createIndex("events_told")
    .on("events")
    .columns(["sweep_id", "position", "kind", "seq"]) // the last two decide without a look at the row
    .where(sql<boolean>`${sql.raw(toldCondition)}`)
    .execute();
}
