import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { begun, control, everything, trained } from "../test/events.js";
import { openStore } from "./index.js";
import { migrations, type Migration } from "./migrations.js";
import { openDatabase, storeIn } from "./sqlite.js";

const now = () => 1_700_000_000_000;
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-sqlite-"));
});

afterEach(() => rm(dir, { recursive: true }));

const file = () => join(dir, "bora.sqlite");
const write = (at = dir) => openStore({ dir: at, mode: "write" });
const read = (at = dir) => openStore({ dir: at, mode: "read" });

describe("durability", () => {
  test("commits are synced to a write-ahead log", () => {
    const database = openDatabase(file());
    const pragma = (name: string): unknown => database.pragma(name, { simple: true });
    expect(pragma("journal_mode")).toBe("wal");
    expect(pragma("synchronous")).toBe(2); // FULL
    expect(pragma("foreign_keys")).toBe(1);
    expect(pragma("busy_timeout")).toBe(5_000);
    database.close();
  });

  test("where there can be no write-ahead log, the store does not open", () => {
    expect(() => openDatabase(":memory:")).toThrow(
      expect.objectContaining({ code: "store_unavailable", message: expect.stringContaining("journal mode memory") }),
    );
  });

  test("a full disk is disk_full, takes nothing of the batch, and passes when there is room again", async () => {
    const database = openDatabase(file());
    const store = await storeIn(database, now);
    await store.append(begun());
    const pages = Number(database.pragma("page_count", { simple: true }));
    database.pragma(`max_page_count = ${pages + 2}`);
    const many = Array.from({ length: 400 }, (_, i) => trained(i + 1));
    await expect(store.append(many)).rejects.toMatchObject({
      code: "disk_full",
      message: expect.stringContaining("SQLITE_FULL"),
      cause: expect.any(Database.SqliteError),
    });
    expect(await everything(store)).toHaveLength(2);
    database.pragma(`max_page_count = ${pages + 1_000}`);
    expect(await store.append(many)).toHaveLength(400);
    await store[Symbol.asyncDispose]();
  });

  test("a database that cannot be written is store_unavailable", async () => {
    const database = openDatabase(file());
    const store = await storeIn(database, now);
    database.pragma("query_only = ON");
    await expect(store.append(begun())).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringContaining("SQLITE_READONLY"),
    });
    await store[Symbol.asyncDispose]();
  });

  test("a damaged event is store_unavailable and says which", async () => {
    const store = await write();
    await store.append(begun());
    const database = new Database(file());
    database.exec("UPDATE events SET body = x'7b' WHERE seq = 2");
    database.close();
    await expect(everything(store)).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringContaining("event 2 of control:shakespeare-0a1b2c3d (lease_granted)"),
    });
    await store[Symbol.asyncDispose]();
  });
});

describe("the output folder", () => {
  test("is made, with everything above it", async () => {
    const below = join(dir, "a", "b");
    await (await write(below))[Symbol.asyncDispose]();
    expect(await readdir(below)).toEqual(["bora.sqlite", "controller.lock.db"]);
  });

  test.each(["write", "read"] as const)(
    "that holds somebody else's files is refused and left alone (%s)",
    async (mode) => {
      await writeFile(join(dir, "thesis.tex"), "years of work");
      await expect(openStore({ dir, mode: mode as "write" })).rejects.toMatchObject({
        code: "out_not_empty",
        message: expect.stringContaining("thesis.tex"),
        hint: expect.stringContaining("--out"),
      });
      expect(await readdir(dir)).toEqual(["thesis.tex"]);
      expect(await readFile(join(dir, "thesis.tex"), "utf8")).toBe("years of work");
    },
  );

  test("that is a file is refused", async () => {
    await writeFile(join(dir, "file"), "");
    await expect(write(join(dir, "file"))).rejects.toMatchObject({ code: "out_not_empty" });
  });

  test("with another program's bora.sqlite is refused, and that file stays as it is", async () => {
    const foreign = new Database(file());
    foreign.exec("CREATE TABLE samba (id)");
    foreign.close();
    const before = await readFile(file());
    await expect(write()).rejects.toMatchObject({ code: "out_not_empty" });
    await expect(read()).rejects.toMatchObject({ code: "out_not_empty" });
    expect(await readFile(file())).toEqual(before);
    await writeFile(file(), "this is no database");
    await expect(write()).rejects.toMatchObject({ code: "out_not_empty" });
    expect(await readdir(dir)).toEqual(["bora.sqlite"]);
  });

  test("with only what a killed controller or an inspection left becomes a store", async () => {
    await mkdir(join(dir, "trainer"));
    await writeFile(join(dir, "controller.json"), "{}");
    await writeFile(join(dir, "controller.lock.db"), "");
    await writeFile(file(), "");
    expect(await everything(await read())).toEqual([]);
    await (await write())[Symbol.asyncDispose]();
  });

  test("without a store reads as empty, and reading makes nothing", async () => {
    for (const at of [dir, join(dir, "missing")]) {
      const reader = await read(at);
      expect(await everything(reader)).toEqual([]);
      expect(await reader.sweeps()).toEqual([]);
      expect(await reader.lastSeq("r")).toBe(0);
      expect(await reader.finishedTrial("t")).toBeNull();
      await reader[Symbol.asyncDispose]();
    }
    expect(await readdir(dir)).toEqual([]);
  });
});

describe("migrations", () => {
  const newest = migrations.at(-1)?.version ?? 0;
  const next: Migration = {
    version: newest + 1,
    up: (transaction) => transaction.schema.alterTable("sweeps").addColumn("note", "text").execute(),
  };
  const withSteps = (steps: readonly Migration[]) => storeIn(openDatabase(file()), now, undefined, steps);

  test("a newer store is refused by writer and reader, and stays usable by the newer version", async () => {
    const newer = await withSteps([...migrations, next]);
    await newer.append(begun());
    await newer[Symbol.asyncDispose]();
    for (const open of [write, read]) {
      await expect(open()).rejects.toMatchObject({
        code: "store_newer",
        message: `the store has schema ${newest + 1}, this BoRA knows ${newest}`,
      });
    }
    const again = await withSteps([...migrations, next]);
    expect(await everything(again)).toHaveLength(2);
    await again[Symbol.asyncDispose]();
  });

  test("an older store is brought up to date with its events", async () => {
    const older = await write();
    await older.append(begun());
    await older[Symbol.asyncDispose]();
    const store = await withSteps([...migrations, next]);
    expect(await everything(store)).toHaveLength(2);
    expect(await store.append([trained(1)])).toHaveLength(1);
    await store[Symbol.asyncDispose]();
    const database = new Database(file());
    expect(database.prepare("SELECT version FROM schema_version").get()).toEqual({ version: newest + 1 });
    expect(database.prepare("SELECT note FROM sweeps").all()).toEqual([{ note: null }]);
    database.close();
  });

  test("a step that fails leaves the step before it", async () => {
    await (await write())[Symbol.asyncDispose]();
    const broken: Migration = {
      version: newest + 1,
      up: async (transaction, dialect) => {
        await next.up(transaction, dialect);
        await sql`SELECT * FROM missing`.execute(transaction);
      },
    };
    await expect(withSteps([...migrations, broken])).rejects.toThrow("no such table: missing");
    const store = await write();
    await store.append([...begun(), control(3, { kind: "resumed" })]);
    await store[Symbol.asyncDispose]();
  });

  test("an opening that fails frees the lock", async () => {
    await (await withSteps([...migrations, next]))[Symbol.asyncDispose]();
    await expect(write()).rejects.toMatchObject({ code: "store_newer" });
    await expect(write()).rejects.toMatchObject({ code: "store_newer" });
  });
});
