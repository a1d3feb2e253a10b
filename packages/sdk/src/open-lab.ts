import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, isLoopback, type wire } from "@bora/contracts";
import type { Placer, Probe } from "@bora/placement";
import { systemClock } from "@bora/scheduler";
import { backupStore, checkStore, openStore, type StoreCheck } from "@bora/store";
import type { ConnectTextTrainer, ConnectTrainer } from "@bora/trainer-client";
import { collectGarbage, type GarbageItem } from "./collect-garbage.js";
import { FolderLab } from "./folder-lab.js";
import { withTrainer } from "./inspect.js";
import type { LabParts } from "./lab-parts.js";
import type { Lab } from "./lab.js";
import { LocalLab } from "./local-lab.js";
import { storeLocation } from "./store-location.js";
import { RemoteLab } from "./remote-lab.js";
import { StoredSweepLog, type SweepLog } from "./sweep-log.js";
import { findPython } from "./trainer-environment.js";

const defaultLeaseMs = 60_000;

/** Where a lab's sweeps are and where its trainers come from. */
export interface LabFolder {
  /** The folder that the command line calls `--out`; made when a sweep begins. */
  dir: string;
  /** How long a trainer goes on when this process is killed, in milliseconds; 60,000 when left out. */
  leaseMs?: number | undefined;
  /** A trainers file: trainers that run already, perhaps elsewhere. Without it trainers are started on this machine. */
  trainers?: string | undefined;
  /** Another way to dial trainers, for those that are reached through a tunnel. */
  connectTrainer?: ConnectTrainer | undefined;
}

/** Who answers for a folder of sweeps: a running controller of this machine, or `bora serve` of any. */
export interface LabAddress {
  /** A controller's is in `<dir>/controller.json`; `bora serve` prints its own. Off this machine only https. */
  url: string;
  /** A controller's is beside its address; that of `bora serve` is one of its `--token-file`. */
  token: string;
  /** Certificates, as PEM text, that the server's must come from; those that Node trusts when left out. */
  ca?: string | undefined;
}

/** A folder of sweeps, or the address of who answers for one. */
export type LabOptions = LabFolder | LabAddress;
/** What loads when it is needed: looking at a finished sweep starts no process and loads no network code. */
const dial: ConnectTrainer = async (address, signal) =>
  (await import("@bora/trainer-client")).connectTrainer(address, signal);
const connectTextTrainer: ConnectTextTrainer = async (address, signal) =>
  (await import("@bora/trainer-client")).connectTextTrainer(address, signal);

/** Which instance answers at an address; a placer of running trainers asks it before it hands one out. */
const probe: Probe = async (at, signal) => {
  await using trainer = await dial(at, signal);
  return { instanceId: (await trainer.describe(signal)).instanceId };
};

async function openPlacer(dir: string, trainers: string | undefined): Promise<{ placer: Placer; trainers: number }> {
  const { localPlacer, pythonTrainer, readTrainersFile, StaticPlacer } = await import("@bora/placement");
  const root = join(dir, "trainer");
  if (trainers === undefined)
    return { placer: await localPlacer({ root, program: pythonTrainer(await findPython()) }), trainers: 1 };
  const running = await readTrainersFile(trainers);
  return { placer: new StaticPlacer({ root, trainers: running, probe }), trainers: running.length };
}

/** The composition root: the one place that knows which store, placement and trainer a lab is made of. */
function localParts({ dir, leaseMs = defaultLeaseMs, trainers, connectTrainer = dial }: LabFolder): LabParts {
  let opened: ReturnType<typeof openPlacer> | null = null;
  const place = () => (opened ??= openPlacer(dir, trainers));
  return {
    dir,
    openReader: async () => openStore({ ...storeLocation(dir), mode: "read" }),
    openWriter: async () => {
      const store = await openStore({ ...storeLocation(dir), mode: "write" });
      await mkdir(dir, { recursive: true }); // a database brings no folder
      return store;
    },
    placer: async () => (await place()).placer,
    maxTrainers: async () => (await place()).trainers,
    connectTrainer,
    connectTextTrainer,
    clock: systemClock,
    freeMemoryBytes: () => (trainers === undefined ? process.availableMemory() : null),
    writeResults: async (state, folder) => (await import("./write-results.js")).writeResults(state, folder),
    leaseMs,
    newId: randomUUID,
  };
}

/**
 * Opens the door to sweeps. With `dir`, everything goes through that folder's controller while one runs in another
 * process; otherwise this process reads the folder, and becomes its controller when it starts a sweep. Opening reads
 * nothing; it throws usage for an address that is none, and tls_missing for one to which the token would go in clear.
 * `await using` closes what calls have opened.
 */
export function openLab(options: LabOptions): Promise<Lab> {
  if ("url" in options) return openAddress(options);
  return Promise.resolve(new FolderLab(options.dir, new LocalLab(localParts(options))));
}

async function openAddress(address: LabAddress): Promise<Lab> {
  const { url } = address;
  if (!URL.canParse(url) || !/^https?:/.test(url))
    throw new BoraError("usage", `${JSON.stringify(url)} is no http or https address`, {
      hint: "give the url of controller.json, or the address that bora serve printed",
    });
  const { protocol, hostname } = new URL(url);
  if (protocol === "https:" || isLoopback(hostname)) return new RemoteLab(address);
  throw new BoraError("tls_missing", `${url} is not on this machine, and without https the token goes in clear`, {
    hint: "give bora serve a certificate and its key, and openLab an https address",
  });
}

/** Opens what a folder's store holds, to read. */
export const openLog = ({ dir }: { dir: string }): SweepLog => new StoredSweepLog(localParts({ dir }).openReader);

/** Has a trainer placed, asks what it is and what it runs on, and lets it go. */
export function describeTrainer(folder: LabFolder, signal: AbortSignal): Promise<wire.DescribeResponse> {
  return withTrainer(localParts(folder), signal, (trainer) => trainer.describe(signal));
}

/** Removes what trainers left in a folder and no sweep needs; with `dryRun` only tells. Throws store_busy. */
export async function clean({ dir, dryRun }: { dir: string; dryRun: boolean }): Promise<GarbageItem[]> {
  return collectGarbage(dir, dryRun, (await openPlacer(dir, undefined)).placer);
}

/** Copies a folder's store into a file while its controller works. Throws usage, disk_full, store_unavailable. */
export async function backup({ dir, to }: { dir: string; to: string }): Promise<number> {
  return backupStore(storeLocation(dir), to);
}

/** Reads a folder's whole store and says what is wrong with it. */
export async function check({ dir }: { dir: string }): Promise<StoreCheck> {
  return checkStore(storeLocation(dir));
}
