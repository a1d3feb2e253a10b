// `npx tsx packages/store/test/write-schema.ts`: writes schemas/N.sql, a store as this version makes it, with something of
// everything in it. Run it once for each schema that is released, and never again: what is there stands for stores that exist.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { openStore } from "../src/index.js";
import { migrations } from "../src/migrations.js";
import { sampleLog } from "./events.js";

const version = migrations.at(-1)?.version ?? 0;
const file = new URL(`schemas/${version}.sql`, import.meta.url);
if (existsSync(file)) throw new Error(`schema ${version} is written already: it is never changed`);

const literal = (value: unknown): string => {
  if (value === null) return "NULL";
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString("hex")}'`;
  return typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value);
};

const dir = mkdtempSync(join(tmpdir(), "bora-schema-"));
const store = await openStore({ dir, mode: "write", now: () => 1_700_000_000_000 });
await store.append(sampleLog());
await store[Symbol.asyncDispose]();
const database = new Database(join(dir, "bora.sqlite"), { readonly: true });
const objects = database
  .prepare<[], { name: string; type: string; sql: string }>(
    "SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid",
  )
  .all();
const lines = objects.flatMap(({ name, type, sql }) => {
  const rows = type === "table" ? database.prepare<[], Record<string, unknown>>(`SELECT * FROM "${name}"`).all() : [];
  const inserts = rows.map((row) => `INSERT INTO "${name}" VALUES (${Object.values(row).map(literal).join(", ")});`);
  return [`${sql};`, ...inserts];
});
database.close();
rmSync(dir, { recursive: true });
writeFileSync(file, `${lines.join("\n")}\n`);
