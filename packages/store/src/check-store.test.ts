import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { begun, everything, lease, trained } from "../test/events.js";
import { backupStore, checkStore, openStore, type Store } from "./index.js";

let dir: string;
let store: Store | null = null;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-check-"));
  store = await openStore({ dir, mode: "write" });
  await store.append([...begun(), trained(1), trained(2), lease(3, 2), trained(3, { attempt: 2 })]);
});
afterEach(async () => {
  await close();
  await rm(dir, { recursive: true });
});

async function close(): Promise<void> {
  await store?.[Symbol.asyncDispose]();
  store = null;
}

/** What a bad disk or a stranger does behind the store's back. */
async function meddle(statement: string): Promise<void> {
  await close();
  const database = new Database(join(dir, "bora.sqlite")).unsafeMode();
  database.exec(statement);
  database.close();
}

describe("checkStore", () => {
  test("finds nothing wrong with a whole store, while it is being written", async () => {
    expect(await checkStore({ dir })).toEqual({ events: 6, problems: [] });
  });

  test("finds nothing in a folder that holds no store yet", async () => {
    const empty = await mkdtemp(join(tmpdir(), "bora-check-"));
    expect(await checkStore({ dir: empty })).toEqual({ events: 0, problems: [] });
    await rm(empty, { recursive: true });
  });

  test.each([
    [
      "an event that was deleted",
      "DELETE FROM events WHERE position = 4",
      /the position before is 3.*|number before is 1/,
    ],
    [
      "a number that was changed",
      "UPDATE events SET seq = 9 WHERE position = 6",
      /event 9 of .*the number before is 2/,
    ],
    ["an attempt that goes back", "UPDATE events SET attempt = 0 WHERE position = 6", /attempt 0 after attempt 1/],
    ["a body that cannot be read", "UPDATE events SET body = x'ffffff' WHERE position = 6", /after position 5/],
  ])("names %s", async (_, statement, problem) => {
    await meddle(statement);
    const { problems } = await checkStore({ dir });
    expect(problems.join("\n")).toMatch(problem);
  });

  test("hands on what SQLite's own check finds: here an index that no longer is the table's", async () => {
    await meddle(
      `PRAGMA writable_schema = ON;
       UPDATE sqlite_schema SET sql = 'CREATE INDEX events_run ON events (seq)' WHERE name = 'events_run'`,
    );
    const { problems } = await checkStore({ dir });
    expect(problems[0]).toMatch(/SQLite's integrity_check: .+/);
  });
});

describe("backupStore", () => {
  const to = () => join(dir, "copy.sqlite");

  test("copies one moment of a store that goes on being written, and the copy opens as a store of its own", async () => {
    const writing = (async () => {
      for (let seq = 4; seq < 60; seq += 1) await store?.append([trained(seq, { attempt: 2 })]);
    })();
    const bytes = await backupStore({ dir }, to());
    await writing;
    expect(bytes).toBeGreaterThan(0);
    const restored = await mkdtemp(join(tmpdir(), "bora-check-"));
    await writeFile(join(restored, "bora.sqlite"), await readBytes(to()));
    const { events, problems } = await checkStore({ dir: restored });
    expect(problems).toEqual([]);
    expect(events).toBeGreaterThanOrEqual(6);
    const again = await openStore({ dir: restored, mode: "write" });
    expect((await everything(again)).slice(0, 6)).toEqual((await everything(store as Store)).slice(0, 6));
    await again[Symbol.asyncDispose]();
    await rm(restored, { recursive: true });
  });

  test("refuses a file that is there, a folder without a store, and a PostgreSQL store, which has its own tool", async () => {
    await writeFile(to(), "mine");
    await expect(backupStore({ dir }, to())).rejects.toMatchObject({ code: "usage", message: /is there already/ });
    await expect(backupStore({ dir: join(dir, "none") }, join(dir, "x"))).rejects.toMatchObject({ code: "usage" });
    expect(() => backupStore({ url: "postgres://db/bora" }, join(dir, "x"))).toThrow(
      expect.objectContaining({ code: "usage", hint: expect.stringContaining("pg_dump") }),
    );
  });

  test("leaves nothing half copied behind", async () => {
    await expect(backupStore({ dir }, join(dir, "no-folder", "copy.sqlite"))).rejects.toThrow();
    expect((await readdir(dir)).filter((name) => name.includes("unfinished"))).toEqual([]);
  });
});

async function readBytes(file: string): Promise<Buffer> {
  return (await import("node:fs/promises")).readFile(file);
}
