import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { POSTGRES } from "../test/backends.js";
import { begun, everything, trained } from "../test/events.js";
import { openStore, type Store } from "./index.js";
import { parseInt8 } from "./postgres.js";

const skip = POSTGRES === undefined ? " (skipped: BORA_TEST_POSTGRES names no database)" : "";

describe.skipIf(POSTGRES === undefined)(`PostgreSQL${skip}`, () => {
  let admin: pg.Client;
  let schema: string;
  let url: string;

  beforeEach(async () => {
    admin = new pg.Client({ connectionString: POSTGRES });
    await admin.connect();
    schema = `bora_test_${randomUUID().replaceAll("-", "")}`;
    await admin.query(`CREATE SCHEMA ${schema}`);
    url = `${POSTGRES}?options=${encodeURIComponent(`-c search_path=${schema} -c synchronous_commit=off`)}&application_name=${schema}`;
  });

  afterEach(async () => {
    await admin.query(`DROP SCHEMA ${schema} CASCADE`);
    await admin.end();
  });

  const write = () => openStore({ url, mode: "write" });
  const read = () => openStore({ url, mode: "read" });

  test("an empty schema reads as empty, and reading makes no tables", async () => {
    const reader = await read();
    expect(await everything(reader)).toEqual([]);
    await reader[Symbol.asyncDispose]();
    const { rows } = await admin.query("SELECT 1 FROM pg_tables WHERE schemaname = $1", [schema]);
    expect(rows).toEqual([]);
  });

  test("somebody else's tables are refused and left alone", async () => {
    await admin.query(`CREATE TABLE ${schema}.payroll (id int)`);
    for (const open of [write, read]) await expect(open()).rejects.toMatchObject({ code: "out_not_empty" });
    const { rows } = await admin.query("SELECT tablename FROM pg_tables WHERE schemaname = $1", [schema]);
    expect(rows).toEqual([{ tablename: "payroll" }]);
  });

  test("a newer schema is refused, and the lock is free afterwards", async () => {
    await (await write())[Symbol.asyncDispose]();
    await admin.query(`UPDATE ${schema}.schema_version SET version = 99`);
    for (const open of [write, read, write]) await expect(open()).rejects.toMatchObject({ code: "store_newer" });
  });

  test("commits are synced, whatever the server's default", async () => {
    const store = await write();
    await admin.query(
      `CREATE FUNCTION ${schema}.require_sync() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF current_setting('synchronous_commit') <> 'on' THEN RAISE 'not synced'; END IF; RETURN NEW; END $$`,
    );
    await admin.query(
      `CREATE TRIGGER sync BEFORE INSERT ON ${schema}.events FOR EACH ROW EXECUTE FUNCTION ${schema}.require_sync()`,
    );
    expect(await store.append(begun())).toHaveLength(2);
    await store[Symbol.asyncDispose]();
  });

  const loseTheLock = () =>
    admin.query(
      `SELECT pg_terminate_backend(pid, 10000) FROM pg_locks JOIN pg_stat_activity USING (pid)
       WHERE locktype = 'advisory' AND application_name = $1`,
      [schema],
    );
  /** What appending comes to, once the writer has noticed. */
  const appended = (store: Store, seq: number) =>
    expect.poll(
      () =>
        store.append([trained(seq)]).then(
          () => "stored",
          (thrown) => thrown.code,
        ),
      { interval: 10, timeout: 30_000 },
    );

  test("a writer whose lock connection is lost, as when the server restarts, takes it again and goes on", async () => {
    const store = await write();
    await store.append(begun());
    await loseTheLock();
    await appended(store, 1).toBe("stored");
    await expect(write()).rejects.toMatchObject({ code: "store_busy" });
    await admin.query("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = $1", [
      schema,
    ]);
    await appended(store, 2).toBe("stored"); // its connections to the tables were lost too
    await store[Symbol.asyncDispose]();
  });

  test("a writer that was cut off appends nothing more once another has taken over, also after that one has left", async () => {
    const store = await write();
    await store.append(begun());
    await loseTheLock();
    const next = await write();
    await appended(store, 1).toBe("store_busy");
    expect(await next.append([trained(1), trained(2)])).toHaveLength(2);
    await next[Symbol.asyncDispose]();
    await appended(store, 3).toBe("store_busy");
    await store[Symbol.asyncDispose]();
  });

  test("the password is not in the error of a second writer", async () => {
    const store = await write();
    const second = openStore({ url: url.replace("//postgres@", "//postgres:hunter2@"), mode: "write" });
    const error = await second.then(
      () => null,
      (thrown) => thrown,
    );
    expect(error).toMatchObject({ code: "store_busy" });
    expect(`${error.message} ${error.hint}`).not.toContain("hunter2");
    await store[Symbol.asyncDispose]();
  });
});

test("no server is store_unavailable", async () => {
  for (const mode of ["write", "read"] as const) {
    const opening = openStore({ url: "postgres://postgres@127.0.0.1:1/none", mode: mode as "write" });
    await expect(opening).rejects.toMatchObject({ code: "store_unavailable" });
  }
});

test("64-bit integers are numbers up to 2^53 and refused above", () => {
  expect(parseInt8("9007199254740991")).toBe(Number.MAX_SAFE_INTEGER);
  expect(() => parseInt8("9007199254740993")).toThrow(RangeError);
});
