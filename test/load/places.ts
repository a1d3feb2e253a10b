import { randomUUID } from "node:crypto";
import type { StoreLocation } from "@bora/store";
import pg from "pg";

export type StoreName = "SQLite" | "PostgreSQL";

/** A store of its own for one part of the suite: in the output folder, or a database that is made and dropped. */
export interface Place extends AsyncDisposable {
  readonly store: StoreName;
  /** Has every `bora` use it. */
  readonly env: NodeJS.ProcessEnv;
  location(out: string): StoreLocation;
}

/** Why a store cannot be had here, or null. */
export const missing = (store: StoreName): string | null =>
  store === "PostgreSQL" && postgres() === undefined ? "BORA_TEST_POSTGRES names no database" : null;

const postgres = (): string | undefined => process.env["BORA_TEST_POSTGRES"];

export async function openPlace(store: StoreName): Promise<Place> {
  if (store === "PostgreSQL") return openDatabase(postgres() ?? "");
  return {
    ...{ store, env: { BORA_STORE: "" }, location: (dir: string) => ({ dir }) },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function openDatabase(server: string): Promise<Place> {
  const name = `bora_load_${randomUUID().slice(0, 8)}`;
  await run(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    ...{ store: "PostgreSQL", env: { BORA_STORE: url.href }, location: () => ({ url: url.href }) },
    [Symbol.asyncDispose]: () => run(server, `drop database ${name} with (force)`),
  };
}

async function run(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
