import { open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { BoraError } from "@bora/contracts";
import Database from "better-sqlite3";
import { withStoreErrors } from "./driver-errors.js";
import type { StoreLocation } from "./open-store.js";
import { inspectOut, STORE_FILE } from "./out-folder.js";

const EVERY_PAGE = 2 ** 30; // in one step: a store that is written to meanwhile is never begun anew

/**
 * Copies a folder's store into a file of its own while a controller writes to it: the state of one moment, checked, whole
 * or not there at all. To restore it, put it as `bora.sqlite` into an empty output folder. Resolves with its bytes.
 *
 * Throws usage for a PostgreSQL store, for a folder without one and for a file that exists; disk_full, store_unavailable.
 */
export function backupStore(where: StoreLocation, to: string): Promise<number> {
  if ("url" in where) throw refused("the store is a PostgreSQL database", "make its backup with pg_dump");
  return withStoreErrors(async () => {
    if ((await inspectOut(where.dir)) === "empty")
      throw refused(`${where.dir} holds no store yet`, "name it with --out");
    if ((await stat(to).catch(() => null)) !== null) throw refused(`${to} is there already`, "name a new file");
    const beside = `${to}.unfinished`;
    try {
      await copy(join(where.dir, STORE_FILE), beside);
      await rename(beside, to);
      return (await stat(to)).size;
    } finally {
      await rm(beside, { force: true });
    }
  });
}

async function copy(from: string, to: string): Promise<void> {
  await rm(to, { force: true });
  const source = new Database(from, { readonly: true });
  try {
    await source.backup(to, { progress: () => EVERY_PAGE });
  } finally {
    source.close();
  }
  const made = new Database(to);
  try {
    made.pragma("journal_mode = DELETE"); // one file: what opens it next makes a log beside it again
    const found: unknown = made.pragma("integrity_check", { simple: true });
    if (found !== "ok")
      throw new BoraError("store_unavailable", `the copy is damaged: ${String(found)}`, {
        hint: "bora doctor looks at the store itself; check the disk",
      });
  } finally {
    made.close();
  }
  await using file = await open(to, "r+");
  await file.sync();
}

const refused = (message: string, hint: string): BoraError => new BoraError("usage", message, { hint });
