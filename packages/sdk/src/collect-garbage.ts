import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Placer } from "@bora/placement";
import { foldSweep, runUses, type RunUse } from "@bora/scheduler";
import { openStore, type Store } from "@bora/store";
import { storeLocation } from "./store-location.js";

/** A folder below `<out>/trainer` that goes, or stays and what for. */
export interface GarbageItem {
  path: string; // relative to <out>
  bytes: number;
  kept: string | null; // what for; null: it goes
}

/**
 * Removes what trainers left and no sweep needs any more: folders of runs whose results are fetched and that nothing will
 * go on from, and of trainers that ended. Results, adapters and the store stay. With `dryRun` it only tells.
 * Throws store_busy while a controller works in the folder: what is needed changes under its hands.
 */
export async function collectGarbage(dir: string, dryRun: boolean, placer: Placer | null): Promise<GarbageItem[]> {
  const location = storeLocation(dir);
  await using store = await openStore({ ...location, mode: "write" });
  const uses = await usesOf(store);
  const living = await livingTrainers(placer);
  const runs = await itemsIn(dir, join("trainer", "runs"), (runId) => keptRun(uses.get(runId), living.size > 0));
  const trainers = await itemsIn(dir, "trainer", (id) => (living.has(id) ? "a trainer that is at work" : null), [
    "runs",
  ]);
  const items = [...runs, ...trainers];
  if (!dryRun) for (const { path, kept } of items) if (kept === null) await rm(join(dir, path), { recursive: true });
  return items;
}

async function usesOf(store: Store): Promise<Map<string, RunUse>> {
  const uses = new Map<string, RunUse>();
  for (const { sweepId } of await store.sweeps())
    for (const [runId, use] of runUses(await foldSweep(store, sweepId))) uses.set(runId, use);
  return uses;
}

/** A run that the store does not know may be held by a trainer that still lives. */
function keptRun(use: RunUse | undefined, somebodyLives: boolean): string | null {
  if (use === undefined) return somebodyLives ? "a trainer that is at work may hold it" : null;
  return use.at === "needed" ? use.for : null;
}

async function livingTrainers(placer: Placer | null): Promise<Set<string>> {
  const placed = (await placer?.list(new AbortController().signal)) ?? [];
  return new Set(placed.flatMap((one) => (one.at === "gone" ? [] : [one.trainerId])));
}

async function itemsIn(
  dir: string,
  folder: string,
  keeps: (name: string) => string | null,
  not: readonly string[] = [],
): Promise<GarbageItem[]> {
  const entries = await readdir(join(dir, folder), { withFileTypes: true }).catch(() => []);
  const names = entries.filter((entry) => entry.isDirectory() && !not.includes(entry.name)).map(({ name }) => name);
  return Promise.all(
    names.sort().map(async (name) => {
      const path = join(folder, name);
      return { path, bytes: await bytesOf(join(dir, path)), kept: keeps(name) };
    }),
  );
}

async function bytesOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
