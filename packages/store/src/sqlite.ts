import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { BoraError } from "@bora/contracts";
import Database from "better-sqlite3";
import { Kysely, SqliteDialect, SqliteDriver, type DatabaseConnection } from "kysely";
import { withStoreErrors } from "./driver-errors.js";
import { memoryReader } from "./memory-store.js";
import { migrate, migrations, requireReadable, type Dialect } from "./migrations.js";
import { APPLICATION_ID, inspectOut, STORE_FILE } from "./out-folder.js";
import type { Tables } from "./schema.js";
import { raiseEpoch, readHolder, SqlStore, SqlStoreReader } from "./sql-store.js";
import type { Store, StoreHolder, StoreReader } from "./store.js";
import { isLocked, lockFolder, storeBusy } from "./writer-lock.js";

const BUSY_MS = 5_000;

const sqlite: Dialect = {
  integer: "integer",
  bytes: "blob",
  tables: async (db) => (await db.introspection.getTables()).map(({ name }) => name),
};

/** Opens a folder's store as its one writer, and makes folder and store when there are none. */
export function writeSqlite(dir: string, now: () => number): Promise<Store> {
  return withStoreErrors(async () => {
    await inspectOut(dir);
    await mkdir(dir, { recursive: true });
    const lock = lockFolder(dir);
    if (lock === null) throw storeBusy(dir, await holderOf(dir));
    try {
      return await storeIn(openDatabase(join(dir, STORE_FILE)), now, lock.release);
    } catch (thrown) {
      lock.release();
      throw thrown;
    }
  });
}

/** Opens a folder's store to read; where there is none yet, it reads as empty. */
export function readSqlite(dir: string): Promise<StoreReader> {
  return withStoreErrors(async () => {
    if ((await inspectOut(dir)) === "empty") return memoryReader();
    const db = kyselyOver(new Database(join(dir, STORE_FILE), { readonly: true, timeout: BUSY_MS }));
    try {
      if ((await requireReadable(db, sqlite)) === "ours") {
        const isHeld = () => Promise.resolve(isLocked(dir));
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

/** A database whose commits survive a power cut. Throws store_unavailable where the disk cannot do that. */
export function openDatabase(file: string): Database.Database {
  const database = new Database(file, { timeout: BUSY_MS });
  try {
    database.pragma(`application_id = ${APPLICATION_ID}`); // before WAL: the mark must be in the file itself
    const mode: unknown = database.pragma("journal_mode = WAL", { simple: true });
    if (mode !== "wal") {
      throw new BoraError("store_unavailable", `${file} cannot keep a write-ahead log (journal mode ${String(mode)})`, {
        hint: "put the output folder on a local disk; for a shared one use PostgreSQL",
      });
    }
    database.pragma("synchronous = FULL");
    database.pragma("foreign_keys = ON");
    return database;
  } catch (thrown) {
    database.close();
    throw thrown;
  }
}

/** The writer over an open database; owns it, and calls `released` when closed. */
export async function storeIn(
  database: Database.Database,
  now: () => number,
  released: () => void = () => undefined,
  steps = migrations,
): Promise<SqlStore> {
  const db = kyselyOver(database);
  try {
    await migrate(db, sqlite, steps);
    const epoch = await raiseEpoch(db, now);
    const close = async () => {
      await db.destroy();
      released();
    };
    return new SqlStore({ db, epoch, now, requireLock: () => Promise.resolve(), close }); // the kernel keeps the lock
  } catch (thrown) {
    await db.destroy();
    throw thrown;
  }
}

async function holderOf(dir: string): Promise<StoreHolder | null> {
  if ((await inspectOut(dir)) === "empty") return null;
  const db = kyselyOver(new Database(join(dir, STORE_FILE), { readonly: true, timeout: BUSY_MS }));
  try {
    return (await requireReadable(db, sqlite)) === "ours" ? await readHolder(db) : null;
  } finally {
    await db.destroy();
  }
}

/** Kysely's SQLite, but for a transaction that SQLite has rolled back itself (full disk): that must not hide why. */
class RollbackDialect extends SqliteDialect {
  constructor(private readonly database: Database.Database) {
    super({ database });
  }

  override createDriver(): SqliteDriver {
    const { database } = this;
    return new (class extends SqliteDriver {
      override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
        if (database.inTransaction) await super.rollbackTransaction(connection);
      }
    })({ database });
  }
}

const kyselyOver = (database: Database.Database): Kysely<Tables> =>
  new Kysely({ dialect: new RollbackDialect(database) });
