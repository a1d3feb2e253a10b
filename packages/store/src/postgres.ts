import { Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";
import { withStoreErrors } from "./driver-errors.js";
import { memoryReader } from "./memory-store.js";
import { migrate, requireReadable, schemaVersion, type Dialect } from "./migrations.js";
import type { Tables } from "./schema.js";
import { raiseEpoch, readHolder, SqlStore, SqlStoreReader } from "./sql-store.js";
import type { Store, StoreHolder, StoreReader } from "./store.js";
import { storeBusy } from "./writer-lock.js";

const CONNECT_MS = 10_000;
const TRY_LOCK = `select pg_try_advisory_lock(hashtext('bora.controller'), hashtext(current_schema())) as held`;
/** Of the same lock: pg_locks has the two halves of its key as unsigned integers. */
const IS_LOCKED = `select exists (
  select from pg_locks
  where locktype = 'advisory' and granted and objsubid = 2
    and database = (select oid from pg_database where datname = current_database())
    and classid::bigint = hashtext('bora.controller')::bigint & 4294967295
    and objid::bigint = hashtext(current_schema())::bigint & 4294967295
) as held`;

const postgres: Dialect = {
  integer: "bigint",
  bytes: "bytea",
  tables: async (db) => {
    const query = sql<{ name: string }>`select tablename as name from pg_tables where schemaname = current_schema()`;
    return (await query.execute(db)).rows.map(({ name }) => name);
  },
};

/** Opens a database's store, in the connection's current schema, as its one writer; makes its tables when it has none. */
export function writePostgres(url: string, now: () => number): Promise<Store> {
  return withStoreErrors(async () => {
    const lock = await DatabaseLock.take(url);
    const db = kyselyOver(url, "set synchronous_commit to on"); // whatever the server's default: appended means durable
    const close = async () => {
      await db.destroy();
      await lock.release();
    };
    try {
      if (!lock.held) throw storeBusy(nameOf(url), await holderOf(db));
      await migrate(db, postgres);
      const epoch = await raiseEpoch(db, now);
      return new SqlStore({ db, epoch, now, requireLock: () => lock.require(), close });
    } catch (thrown) {
      await close();
      throw thrown;
    }
  });
}

/** Opens a database's store to read; where there is none yet, it reads as empty. */
export function readPostgres(url: string): Promise<StoreReader> {
  return withStoreErrors(async () => {
    const db = kyselyOver(url, "set default_transaction_read_only to on");
    try {
      if ((await requireReadable(db, postgres)) === "ours") {
        const isHeld = async () =>
          (await sql<{ held: boolean }>`${sql.raw(IS_LOCKED)}`.execute(db)).rows[0]?.held === true;
        return new SqlStoreReader(db, isHeld, () => db.destroy());
      }
    } catch (thrown) {
      await db.destroy();
      throw thrown;
    }
    await db.destroy();
    return memoryReader();
  });
}

/** An integer of 64 bits as pg hands it over, in text. Throws RangeError above 2^53, where a number would be another. */
export function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`the integer ${text} does not fit a JavaScript number`);
  return value;
}

/**
 * A session lock on a connection of its own: the server frees it when the connection is lost, as in its own restart.
 * `require` then takes it again before anything is written; whether another controller had it meanwhile the epoch tells.
 */
class DatabaseLock {
  private constructor(
    private readonly url: string,
    private connection: LockConnection,
  ) {}

  static async take(url: string): Promise<DatabaseLock> {
    return new DatabaseLock(url, await tryLock(url));
  }

  get held(): boolean {
    return this.connection.held;
  }

  /** Throws store_busy when another controller holds it, store_unavailable while the server does not answer. */
  async require(): Promise<void> {
    if (this.connection.lost() === null) return;
    await this.release();
    this.connection = await tryLock(this.url);
    if (!this.connection.held) throw storeBusy(nameOf(this.url), null);
  }

  async release(): Promise<void> {
    await this.connection.client.end().catch(() => undefined); // it is gone already
  }
}

interface LockConnection {
  client: pg.Client;
  held: boolean;
  lost(): Error | null;
}

async function tryLock(url: string): Promise<LockConnection> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_MS, keepAlive: true });
  let lost: Error | null = null;
  client.on("error", (error) => (lost = error));
  client.on("end", () => (lost ??= new Error("the connection was closed")));
  await client.connect();
  const { rows } = await client.query<{ held: boolean }>(TRY_LOCK);
  return { client, held: rows[0]?.held === true, lost: () => lost };
}

function kyselyOver(url: string, onConnect: string): Kysely<Tables> {
  const pool = new pg.Pool({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MS,
    max: 2, // appends, and a read beside them
    onConnect: async (client) => void (await client.query(onConnect)),
    types: {
      getTypeParser: (type: number, format?: "text" | "binary") =>
        type === pg.types.builtins.INT8 ? parseInt8 : pg.types.getTypeParser(type, format ?? "text"),
    },
  });
  pool.on("error", () => undefined); // an idle connection was lost: the next query gets a new one or says why not
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}

const holderOf = async (db: Kysely<Tables>): Promise<StoreHolder | null> =>
  (await schemaVersion(db, postgres)) === 0 ? null : readHolder(db);

/** Host and database of an address, without its password. */
function nameOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `postgres://${host}${pathname}`;
}
