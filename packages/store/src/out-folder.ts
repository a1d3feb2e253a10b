import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { BoraError } from "@bora/contracts";

export const STORE_FILE = "bora.sqlite";
export const LOCK_FILE = "controller.lock.db";

/** Marks our SQLite files in their header: "BoRA". */
export const APPLICATION_ID = 0x426f5241;

const HEADER_BYTES = 100;
const MAGIC = "SQLite format 3\0";
const APPLICATION_ID_OFFSET = 68; // big-endian, https://www.sqlite.org/fileformat2.html
// What may be there before the store is: a controller that was killed while it made it, and trainers that inspected.
const OURS = new Set([LOCK_FILE, `${LOCK_FILE}-journal`, "controller.json", "trainer"]);

/**
 * Looks at an output folder without touching it: "ours" has a store, "empty" may become one.
 * Throws out_not_empty when something else is there.
 */
export async function inspectOut(dir: string): Promise<"ours" | "empty"> {
  const names = await listFolder(dir);
  if (names.includes(STORE_FILE)) return inspectStoreFile(join(dir, STORE_FILE));
  const foreign = names.filter((name) => !OURS.has(name) && !name.startsWith(STORE_FILE));
  if (foreign.length === 0) return "empty";
  throw notOurs(
    `${dir} holds ${foreign.length} files or folders (${foreign.slice(0, 3).join(", ")}) and no ${STORE_FILE}`,
  );
}

async function listFolder(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).sort();
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
    if (code === "ENOENT") return [];
    if (code === "ENOTDIR") throw notOurs(`${dir} is a file, not a folder`);
    throw thrown;
  }
}

async function inspectStoreFile(file: string): Promise<"ours" | "empty"> {
  await using handle = await open(file);
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
  if (bytesRead === 0) return "empty"; // its writer was killed before the first byte
  const ours =
    bytesRead === HEADER_BYTES &&
    buffer.toString("latin1", 0, MAGIC.length) === MAGIC &&
    buffer.readUInt32BE(APPLICATION_ID_OFFSET) === APPLICATION_ID;
  if (!ours) throw notOurs(`${file} was not written by BoRA`);
  return "ours";
}

const notOurs = (message: string): BoraError =>
  new BoraError("out_not_empty", message, { hint: "choose a new or empty folder with --out; nothing was touched" });
