import { mkdir, readdir, realpath } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { endTrainer } from "./end-trainer.js";
import type { Placement, PlaceRequest, Placer } from "./placer.js";
import { isAlive, processesOf } from "./processes.js";
import {
  startedElsewhere,
  startTrainer,
  whenReady,
  type StartedTrainer,
  type TrainerProgram,
} from "./start-trainer.js";
import {
  forget,
  isTrainerId,
  readReady,
  readToken,
  trainerFolder,
  type Ready,
  type TrainerFolder,
} from "./trainer-folder.js";

const READY_MS = 120_000; // a cold import of torch on a busy machine
const FAILED_START_GRACE_MS = 2_000;

export interface LocalPlacerOptions {
  root: string; // <out>/trainer: a folder a trainer, and "runs", which they share
  program: TrainerProgram;
  readyMs?: number;
  environment?: NodeJS.ProcessEnv; // of which trainers get an allow-list
}

/** Places trainers on this machine, each a process group of its own that lives on when this process dies. */
export async function localPlacer(options: LocalPlacerOptions): Promise<Placer> {
  await mkdir(options.root, { recursive: true });
  return new LocalPlacer({
    readyMs: READY_MS,
    environment: process.env,
    ...options,
    root: await realpath(options.root),
  });
}

class LocalPlacer implements Placer {
  private readonly placing = new Map<string, Promise<Ready>>();
  private readonly started = new Map<string, StartedTrainer>();

  constructor(private readonly options: Required<LocalPlacerOptions>) {}

  async place(request: PlaceRequest, signal: AbortSignal) {
    const folder = trainerFolder(this.options.root, request.trainerId);
    const placing = this.placing.get(request.trainerId) ?? this.findOrStart(folder, request, signal);
    this.placing.set(request.trainerId, placing);
    try {
      return await placement(folder, await placing);
    } finally {
      this.placing.delete(request.trainerId);
    }
  }

  async list(signal: AbortSignal): Promise<Placement[]> {
    const entries = await readdir(this.options.root, { withFileTypes: true });
    const names = entries.filter((entry) => entry.isDirectory() && isTrainerId(entry.name)).map(({ name }) => name);
    const found = await Promise.all(
      names.sort().map((name) => this.look(trainerFolder(this.options.root, name), signal)),
    );
    return found.filter((one) => one !== null);
  }

  async release(trainerId: string, graceMs: number, signal: AbortSignal): Promise<void> {
    const folder = trainerFolder(this.options.root, trainerId);
    await endTrainer(folder, graceMs, signal);
    await forget(folder);
    this.started.delete(trainerId);
  }

  private async findOrStart(folder: TrainerFolder, { leaseMs }: PlaceRequest, signal: AbortSignal): Promise<Ready> {
    signal.throwIfAborted();
    const found = await this.find(folder, signal);
    if (found !== null) return found;
    const { root, program, environment, readyMs } = this.options;
    const runRoot = join(root, "runs");
    const started = await startTrainer(program, folder, { runRoot, leaseMs, environment });
    this.started.set(folder.trainerId, started);
    try {
      return await whenReady(folder, started, readyMs, signal);
    } catch (thrown) {
      await endTrainer(folder, FAILED_START_GRACE_MS, new AbortController().signal);
      await forget(folder);
      throw thrown;
    }
  }

  /**
   * The trainer that lives and takes connections, also one that a controller which has died was still starting.
   * Null when there is none; then nothing of an earlier one is left.
   */
  private async find(folder: TrainerFolder, signal: AbortSignal): Promise<Ready | null> {
    if ((await processesOf(folder.path)).length === 0) return null;
    const ready = await readReady(folder);
    if (ready === null || (await isAlive(ready))) {
      const found = await whenReady(folder, startedElsewhere(folder), this.options.readyMs, signal).catch(() => null);
      signal.throwIfAborted();
      if (found !== null) return found;
    }
    await endTrainer(folder, FAILED_START_GRACE_MS, signal);
    return null;
  }

  private async look(folder: TrainerFolder, signal: AbortSignal): Promise<Placement | null> {
    if (this.placing.has(folder.trainerId)) return null; // this very process is still at it
    const ready = await readReady(folder);
    if (ready !== null && (await isAlive(ready))) return placement(folder, ready);
    if (ready === null && (await processesOf(folder.path)).length > 0) {
      const found = await this.find(folder, signal);
      return found === null
        ? { at: "gone", trainerId: folder.trainerId, reason: "it never became ready" }
        : placement(folder, found);
    }
    if (ready === null) return null;
    await endTrainer(folder, 0, signal); // a training child whose trainer was killed
    const ending = (await this.started.get(folder.trainerId)?.ended()) ?? "unseen by this controller";
    return { at: "gone", trainerId: folder.trainerId, reason: `process ${ready.pid} ended ${ending}` };
  }
}

async function placement(folder: TrainerFolder, { address, instanceId }: Ready): Promise<Placement & { at: "ready" }> {
  const token = await readToken(folder);
  return { at: "ready", trainerId: folder.trainerId, instanceId, address, token, node: hostname(), devices: [] };
}
