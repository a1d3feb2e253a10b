import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { everything, RUN } from "../test/events.js";
import { openStore } from "./index.js";

const KILLS = 20;
const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const appender = at("../node_modules/.cache/appender.mjs"); // where it finds better-sqlite3

let dir: string;

// One file instead of hundreds of modules: a child then starts in a fraction of a second.
beforeAll(() =>
  build({
    entryPoints: [at("../test/appender.ts")],
    outfile: appender,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["better-sqlite3", "pg"],
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    alias: { "@bora/contracts": at("../../contracts/src/index.ts") },
  }),
);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-kill-"));
});

afterEach(() => rm(dir, { recursive: true }));

/** Starts a controller on `dir`; resolves once it has stored something. */
async function controller() {
  const child = spawn(process.execPath, [appender, dir], { stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(child, "close");
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (printed += text));
  await Promise.race([once(child.stdout, "data"), closed]);
  return {
    pid: child.pid,
    /** Kills it and returns the last seq it was told to be stored. */
    kill: async (): Promise<number> => {
      child.kill("SIGKILL");
      await closed;
      expect(child.signalCode).toBe("SIGKILL");
      return Number(printed.split("\n").at(-2)); // a last line without its end was not yet said
    },
  };
}

test(`every acknowledged event is there after each of ${KILLS} kills`, { timeout: 120_000 }, async () => {
  for (let kills = 0; kills < KILLS; kills += 1) {
    const child = await controller();
    await sleep(Math.random() * 60);
    const acknowledged = await child.kill();
    expect(acknowledged).toBeGreaterThan(0);
    const store = await openStore({ dir, mode: "write" });
    const lastSeq = await store.lastSeq(RUN);
    expect(lastSeq).toBeGreaterThanOrEqual(acknowledged);
    await store[Symbol.asyncDispose]();
  }
  const reader = await openStore({ dir, mode: "read" });
  const events = await everything(reader);
  expect(events.map(({ position }) => position)).toEqual(events.map((_, index) => index + 1));
  expect(events.slice(2).map(({ seq }) => seq)).toEqual(events.slice(2).map((_, index) => index + 1));
  await reader[Symbol.asyncDispose]();
});

test("a writer in another process holds the store until it is killed, and not a moment longer", async () => {
  const child = await controller();
  await expect(openStore({ dir, mode: "write" })).rejects.toMatchObject({
    code: "store_busy",
    message: expect.stringContaining(`process ${child.pid} on `),
    cause: { pid: child.pid },
  });
  await child.kill();
  await (await openStore({ dir, mode: "write" }))[Symbol.asyncDispose]();
});
