import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import pg from "pg";
import { memoryReader } from "../src/memory-store.js";
import { memoryStore, MemoryStorage, openStore, type Store, type StoreReader } from "../src/index.js";

/** One place that a store can live in, and be opened again. */
export interface Backend {
  write(now?: () => number): Promise<Store>;
  read(): Promise<StoreReader>;
  /** Does what a controller that takes over does to the epoch. */
  raiseEpoch(): Promise<void>;
  remove(): Promise<void>;
}

export const POSTGRES = process.env["BORA_TEST_POSTGRES"];

/** Name, maker, and why it cannot run here. */
export const backends: [name: string, make: () => Promise<Backend>, skip: string | null][] = [
  ["sqlite", sqlite, null],
  ["postgres", postgres, POSTGRES === undefined ? "BORA_TEST_POSTGRES names no database" : null],
  ["memory", memory, null],
];

async function sqlite(): Promise<Backend> {
  const dir = await mkdtemp(join(tmpdir(), "bora-store-"));
  return {
    write: (now) => openStore({ dir, mode: "write", now }),
    read: () => openStore({ dir, mode: "read" }),
    raiseEpoch: async () => {
      const database = new Database(join(dir, "bora.sqlite"));
      database.exec("UPDATE writer SET epoch = epoch + 1");
      database.close();
    },
    remove: () => rm(dir, { recursive: true }),
  };
}

async function postgres(): Promise<Backend> {
  const schema = `bora_test_${randomUUID().replaceAll("-", "")}`;
  const query = async (text: string) => {
    const client = new pg.Client({ connectionString: POSTGRES });
    await client.connect();
    await client.query(text);
    await client.end();
  };
  await query(`CREATE SCHEMA ${schema}`);
  const url = `${POSTGRES}?options=${encodeURIComponent(`-c search_path=${schema}`)}`;
  return {
    write: (now) => openStore({ url, mode: "write", now }),
    read: () => openStore({ url, mode: "read" }),
    raiseEpoch: () => query(`UPDATE ${schema}.writer SET epoch = epoch + 1`),
    remove: () => query(`DROP SCHEMA ${schema} CASCADE`),
  };
}

async function memory(): Promise<Backend> {
  const storage = new MemoryStorage();
  return {
    write: async (now) => memoryStore(storage, now),
    read: async () => memoryReader(storage),
    raiseEpoch: async () => void (storage.epoch += 1),
    remove: async () => undefined,
  };
}
