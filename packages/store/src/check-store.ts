import { join } from "node:path";
import Database from "better-sqlite3";
import { withStoreErrors } from "./driver-errors.js";
import { openStore, type StoreLocation } from "./open-store.js";
import { inspectOut, STORE_FILE } from "./out-folder.js";
import type { StoredEvent, StoreReader } from "./store.js";

/** What a look at every stored event found; `problems` is empty for a store that is whole. */
export interface StoreCheck {
  events: number;
  problems: string[];
}

/**
 * Reads a whole store and says what is wrong with it: the database's own check (SQLite's `integrity_check`), then the
 * log's rules: positions and each run's numbers without gaps, attempts that never go back, bodies that can be read.
 * Never writes. Throws as openStore does.
 */
export async function checkStore(where: StoreLocation): Promise<StoreCheck> {
  await using store = await openStore({ ...where, mode: "read" });
  const { events, problems } = await checkLog(store);
  return { events, problems: [...("dir" in where ? await checkDatabase(where.dir) : []), ...problems] };
}

function checkDatabase(dir: string): Promise<string[]> {
  return withStoreErrors(async () => {
    if ((await inspectOut(dir)) === "empty") return [];
    const database = new Database(join(dir, STORE_FILE), { readonly: true });
    try {
      const found: unknown = database.pragma("integrity_check", { simple: true }); // "ok", or the first thing wrong
      return found === "ok" ? [] : [`SQLite's integrity_check: ${String(found)}`];
    } finally {
      database.close();
    }
  });
}

const mostProblems = 20;

/** The rules of the log, on every event in commit order. */
export async function checkLog(store: Pick<StoreReader, "read">): Promise<StoreCheck> {
  const runs = new Map<string, StoredEvent>();
  const problems: string[] = [];
  let position = 0;
  try {
    for await (const event of store.read({})) {
      if (problems.length < mostProblems) problems.push(...wrongWith(event, position, runs.get(event.runId)));
      position = event.position;
      runs.set(event.runId, event);
    }
  } catch (error) {
    problems.push(`after position ${position}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { events: position, problems };
}

function wrongWith(event: StoredEvent, lastPosition: number, before: StoredEvent | undefined): string[] {
  const { position, runId, seq, attempt } = event;
  const where = `position ${position}, event ${seq} of ${runId}`;
  return [
    ...(position === lastPosition + 1 ? [] : [`${where}: the position before is ${lastPosition}`]),
    ...(seq === (before?.seq ?? 0) + 1 ? [] : [`${where}: the number before is ${before?.seq ?? 0}`]),
    ...(attempt >= (before?.attempt ?? 0) ? [] : [`${where}: attempt ${attempt} after attempt ${before?.attempt}`]),
  ];
}
