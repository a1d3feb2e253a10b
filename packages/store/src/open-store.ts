import { readSqlite, writeSqlite } from "./sqlite.js";
import type { Store, StoreReader } from "./store.js";

/** A folder (SQLite, on a local disk) or the address of a PostgreSQL database. */
export type StoreLocation = { dir: string } | { url: string };

export type OpenStore<Mode extends "read" | "write"> = StoreLocation & {
  mode: Mode;
  now?: () => number; // ms since 1970, when events are stored
};

/**
 * Opens a store. `write` makes it where there is none and holds it alone until closed or killed; `read` never writes
 * or waits, and finds nothing where there is no store yet.
 *
 * Throws out_not_empty when the folder or database holds something else, store_newer, store_unavailable, disk_full,
 * and store_busy (with process, host and since when) when another process writes.
 */
export function openStore(options: OpenStore<"write">): Promise<Store>;
export function openStore(options: OpenStore<"read">): Promise<StoreReader>;
export async function openStore(options: OpenStore<"read" | "write">): Promise<StoreReader> {
  const { mode, now = Date.now } = options;
  if ("dir" in options) return mode === "write" ? writeSqlite(options.dir, now) : readSqlite(options.dir);
  const { readPostgres, writePostgres } = await import("./postgres.js"); // most stores need no pg
  return mode === "write" ? writePostgres(options.url, now) : readPostgres(options.url);
}
