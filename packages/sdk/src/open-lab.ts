import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { wire } from "@bora/contracts";
import type { Placer } from "@bora/placement";
import { systemClock } from "@bora/scheduler";
import { backupStore, checkStore, openStore, type StoreCheck } from "@bora/store";
import type { ConnectTrainer } from "@bora/trainer-client";
import { collectGarbage, type GarbageItem } from "./collect-garbage.js";
import { FolderLab } from "./folder-lab.js";
import { withTrainer } from "./inspect.js";
import type { LabParts } from "./lab-parts.js";
import type { Lab } from "./lab.js";
import { LocalLab } from "./local-lab.js";
import { storeLocation } from "./store-location.js";
import { RemoteLab } from "./remote-lab.js";
import { findPython } from "./trainer-environment.js";

const defaultLeaseMs = 60_000;

/** A folder of sweeps on this machine, or the address of a running controller. */
export type LabOptions = LocalOptions | { url: string; token: string };

export interface LocalOptions {
  dir: string;
  leaseMs?: number; // 60 000
  connectTrainer?: ConnectTrainer; // for trainers that are reached through a tunnel
}

/** What loads when it is needed: looking at a finished sweep starts no process and loads no network code. */
const dial: ConnectTrainer = async (address, signal) =>
  (await import("@bora/trainer-client")).connectTrainer(address, signal);

async function openPlacer(dir: string): Promise<Placer> {
  const [{ localPlacer, pythonTrainer }, python] = await Promise.all([import("@bora/placement"), findPython()]);
  return localPlacer({ root: join(dir, "trainer"), program: pythonTrainer(python) });
}

/** The composition root: the one place that knows which store, placement and trainer a lab is made of. */
function localParts({ dir, leaseMs = defaultLeaseMs, connectTrainer = dial }: LocalOptions): LabParts {
  let placer: Promise<Placer> | null = null;
  return {
    dir,
    openReader: async () => openStore({ ...storeLocation(dir), mode: "read" }),
    openWriter: async () => {
      const store = await openStore({ ...storeLocation(dir), mode: "write" });
      await mkdir(dir, { recursive: true }); // a database brings no folder
      return store;
    },
    placer: () => (placer ??= openPlacer(dir)),
    connectTrainer,
    clock: systemClock,
    freeMemoryBytes: () => process.availableMemory(),
    writeResults: async (state, folder) => (await import("./write-results.js")).writeResults(state, folder),
    leaseMs,
    newId: randomUUID,
  };
}

/**
 * Opens the door to sweeps. With `dir`, everything goes through that folder's controller while one runs in another
 * process; otherwise this process reads the folder, and becomes its controller when it starts a sweep.
 */
export function openLab(options: LabOptions): Promise<Lab> {
  if ("url" in options) return Promise.resolve(new RemoteLab(options));
  return Promise.resolve(new FolderLab(options.dir, new LocalLab(localParts(options))));
}

/** Starts a trainer, asks what it is and what it runs on, and ends it. */
export function describeTrainer({ dir }: { dir: string }, signal: AbortSignal): Promise<wire.DescribeResponse> {
  return withTrainer(localParts({ dir }), signal, (trainer) => trainer.describe(signal));
}

/** Removes what trainers left in a folder and no sweep needs; with `dryRun` only tells. Throws store_busy. */
export async function clean({ dir, dryRun }: { dir: string; dryRun: boolean }): Promise<GarbageItem[]> {
  return collectGarbage(dir, dryRun, await openPlacer(dir));
}

/** Copies a folder's store into a file while its controller works. Throws usage, disk_full, store_unavailable. */
export async function backup({ dir, to }: { dir: string; to: string }): Promise<number> {
  return backupStore(storeLocation(dir), to);
}

/** Reads a folder's whole store and says what is wrong with it. */
export async function check({ dir }: { dir: string }): Promise<StoreCheck> {
  return checkStore(storeLocation(dir));
}
