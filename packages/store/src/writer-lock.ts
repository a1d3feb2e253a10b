import { existsSync } from "node:fs";
import { join } from "node:path";
import { BoraError } from "@bora/contracts";
import Database from "better-sqlite3";
import { LOCK_FILE } from "./out-folder.js";
import type { StoreHolder } from "./store.js";

/**
 * Becomes the one writer of a folder: an exclusive transaction held open on a database of its own, or null when
 * another process holds it. The kernel ends it with the process, however that dies, so a lock is never judged by age.
 */
export function lockFolder(dir: string): { release(): void } | null {
  const database = new Database(join(dir, LOCK_FILE), { timeout: 0 });
  try {
    database.exec("BEGIN EXCLUSIVE");
    return { release: () => void database.close() };
  } catch (thrown) {
    database.close();
    if (thrown instanceof Database.SqliteError && thrown.code.startsWith("SQLITE_BUSY")) return null;
    throw thrown;
  }
}

/** Whether a process holds a folder's lock. Only looks: a shared lock for the time of one read, never the exclusive one. */
export function isLocked(dir: string): boolean {
  const file = join(dir, LOCK_FILE);
  if (!existsSync(file)) return false;
  const database = new Database(file, { readonly: true, timeout: 0 });
  try {
    database.prepare("SELECT 1 FROM sqlite_master").all();
    return false;
  } catch (thrown) {
    if (thrown instanceof Database.SqliteError && thrown.code.startsWith("SQLITE_BUSY")) return true;
    throw thrown;
  } finally {
    database.close();
  }
}

/** The error of a second writer. `holder` is null while the first is still making the store. */
export function storeBusy(where: string, holder: StoreHolder | null): BoraError {
  const since = holder === null ? "" : ` since ${new Date(holder.sinceMs).toISOString()}`;
  const who = holder === null ? "another controller" : `process ${holder.pid} on ${holder.host}`;
  return new BoraError("store_busy", `${who} holds ${where}${since}`, {
    hint: "one controller writes a store: follow it with `bora status`, end it with `bora drain`, or use another --out",
    cause: holder ?? undefined,
  });
}

/** The error of a writer that another has replaced, found by its epoch. */
export const takenOver = (epoch: number): BoraError =>
  new BoraError("store_busy", `another controller has taken the store over (this one had epoch ${epoch})`, {
    hint: "this controller was paused or cut off and writes nothing more: look at the other with `bora status`",
  });
