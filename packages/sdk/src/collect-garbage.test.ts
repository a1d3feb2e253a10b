import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Placer } from "@bora/placement";
import { openStore } from "@bora/store";
import { afterEach, beforeEach, expect, test } from "vitest";
import { collectGarbage } from "./collect-garbage.js";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-"));
  for (const folder of ["trainer/runs/unknown", "trainer/gone-t1", "trainer/here-t1", "tiny-01234567"]) {
    await mkdir(join(dir, folder), { recursive: true });
    await writeFile(join(dir, folder, "file"), "0123456789");
  }
  await rm(join(dir, "tiny-01234567"), { recursive: true }); // a folder of results comes with a store
  await (await openStore({ dir, mode: "write" }))[Symbol.asyncDispose]();
  await mkdir(join(dir, "tiny-01234567"));
  await writeFile(join(dir, "tiny-01234567", "results.json"), "{}");
});
afterEach(() => rm(dir, { recursive: true }));

const placerOf = (...living: string[]): Placer => ({
  place: () => Promise.reject(new Error("nobody places a trainer here")),
  release: () => Promise.resolve(),
  list: () =>
    Promise.resolve(
      living.map((trainerId) => ({
        ...{ at: "ready" as const, trainerId, instanceId: "i", address: "a", token: "t", node: "n", devices: [] },
      })),
    ),
});
const left = async () => (await readdir(join(dir, "trainer"), { recursive: true })).sort();

test("what no sweep needs goes, and the results stay", async () => {
  const items = await collectGarbage(dir, false, placerOf());
  expect(items).toEqual([
    { path: "trainer/runs/unknown", bytes: 10, kept: null },
    { path: "trainer/gone-t1", bytes: 10, kept: null },
    { path: "trainer/here-t1", bytes: 10, kept: null },
  ]);
  expect(await left()).toEqual(["runs"]);
  expect(await readdir(join(dir, "tiny-01234567"))).toEqual(["results.json"]);
});

test("a dry run only tells", async () => {
  const before = await left();
  expect((await collectGarbage(dir, true, placerOf())).map(({ kept }) => kept)).toEqual([null, null, null]);
  expect(await left()).toEqual(before);
});

test("a trainer that is at work keeps its folder, and any run that it may hold", async () => {
  const items = await collectGarbage(dir, false, placerOf("here-t1"));
  expect(items.filter(({ kept }) => kept === null).map(({ path }) => path)).toEqual(["trainer/gone-t1"]);
});

test("nothing goes while a controller works", async () => {
  const store = await openStore({ dir, mode: "write" });
  await expect(collectGarbage(dir, false, placerOf())).rejects.toMatchObject({ code: "store_busy" });
  await store[Symbol.asyncDispose]();
});
