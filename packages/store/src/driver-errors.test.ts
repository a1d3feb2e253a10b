import { BoraError } from "@bora/contracts";
import Database from "better-sqlite3";
import pg from "pg";
import { expect, test } from "vitest";
import { asStoreError } from "./driver-errors.js";

const errno = (code: string) => Object.assign(new Error(code), { code });

test.each([
  [new Database.SqliteError("database or disk is full", "SQLITE_FULL"), "disk_full"],
  [errno("ENOSPC"), "disk_full"],
  [errno("EDQUOT"), "disk_full"],
  [Object.assign(new pg.DatabaseError("could not extend file", 1, "error"), { code: "53100" }), "disk_full"],
  [new Database.SqliteError("disk I/O error", "SQLITE_IOERR_WRITE"), "store_unavailable"],
  [new Database.SqliteError("attempt to write a readonly database", "SQLITE_READONLY"), "store_unavailable"],
  [new Database.SqliteError("database disk image is malformed", "SQLITE_CORRUPT"), "store_unavailable"],
  [errno("EACCES"), "store_unavailable"],
  [errno("ECONNREFUSED"), "store_unavailable"],
  [Object.assign(new pg.DatabaseError("terminating connection", 1, "error"), { code: "57P01" }), "store_unavailable"],
  [new Error("Connection terminated unexpectedly"), "store_unavailable"],
])("%s is %s", (thrown, code) => {
  expect(asStoreError(thrown)).toMatchObject({ code, cause: thrown, hint: expect.stringMatching(/./) });
});

test.each([new BoraError("event_conflict", "m", { hint: "h" }), new TypeError("our own fault"), "no error"])(
  "%s is passed on as it is",
  (thrown) => {
    expect(asStoreError(thrown)).toBe(thrown);
  },
);
