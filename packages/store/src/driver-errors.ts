import { BoraError, type ErrorCode } from "@bora/contracts";

const FULL = new Set(["SQLITE_FULL", "ENOSPC", "EDQUOT", "53100"]);
const DRIVER = /^(SQLITE_[A-Z_]+|[0-9A-Z]{5}|E[A-Z]{3,})$/; // SQLite's result codes, PostgreSQL's SQLSTATE, errno names

/**
 * A database's error as ours: no room is `disk_full`, anything else that SQLite, PostgreSQL or the file system reports
 * is `store_unavailable`. Everything else, our own faults included, is passed on as it is.
 */
export function asStoreError(thrown: unknown): unknown {
  if (thrown instanceof BoraError || !(thrown instanceof Error)) return thrown;
  const code = "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
  if (code !== undefined && FULL.has(code)) {
    return storeError("disk_full", thrown, code, "free some space, then run the same command again: it goes on");
  }
  if ((code !== undefined && DRIVER.test(code)) || /^(Connection terminated|timeout exceeded)/.test(thrown.message)) {
    return storeError(
      "store_unavailable",
      thrown,
      code,
      "check that the store's disk or server can be written, then run again",
    );
  }
  return thrown;
}

/** Runs database work and gives its failures our codes. */
export async function withStoreErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw asStoreError(thrown);
  }
}

function storeError(code: ErrorCode, cause: Error, driverCode: string | undefined, hint: string): BoraError {
  const message = `the store answers ${driverCode ?? "nothing"}: ${cause.message}`;
  return new BoraError(code, message, { hint, cause });
}
