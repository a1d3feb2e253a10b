import { mkdtemp, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { parseExperiment, type ExperimentSpec, type Inspected } from "@bora/contracts";
import { systemClock } from "@bora/scheduler";
import { openStore } from "@bora/store";
import { FolderLab } from "./folder-lab.js";
import { InstantTrainers, type TrainerScript } from "./instant-trainer.fixture.js";
import type { LabParts } from "./lab-parts.js";
import type { SweepHandle } from "./lab.js";
import { LocalLab } from "./local-lab.js";
import type { SweepEvent } from "./sweep-event.js";
import { writeResults } from "./write-results.js";

const task = (name: string) => ({
  ...{ name, slug: name, documents: { train: 3, validation: 1, test: 1 }, cutDocuments: 0, cutTokens: 0 },
  scoredTokens: { train: 90, validation: 10, test: 10 },
});
const facts: Inspected = {
  ...{ tasks: [task("romeo"), task("juliet")], dataHash: "d", modelHash: "m", modelName: "tiny", warnings: [] },
  ...{ baseParameters: 1000, parametersPerRow: 8, adaptedModules: 2, bytesPerRow: 1000, baseBytes: 1000, files: [] },
  ...{ trainTokensPerSecond: 100, evaluateTokensPerSecond: 100 },
  ...{ bytesPerFit: 1, activationBytesPerToken: 1, keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1 },
  ...{ processBytes: 1, prefixCacheBytes: 0, device: "cpu", freeMemoryBytes: 1, memoryBytes: 1 },
};

export const experiment = (taus: (number | string)[] = [0, 1, "inf"], name = "tiny"): ExperimentSpec =>
  parseExperiment({
    name,
    model: { source: "path", path: "/model" },
    data: { source: "shakespeare", tasks: { all: true } },
    adapter: { targets: ["q_proj"] },
    prior: { taus },
  });

/** A new folder with a data file that trainers say they have read. */
export async function makeFolder() {
  const dir = await mkdtemp(join(tmpdir(), "bora-"));
  const path = join(dir, "data.csv");
  await writeFile(path, "task,text\n");
  const { size, mtimeMs } = await stat(path);
  const inspected = { ...facts, files: [{ path, size, modifiedMs: Math.floor(mtimeMs) }] };
  const scripted = (script: Partial<TrainerScript> = {}) => new InstantTrainers({ inspected, ...script });
  return { dir, out: join(dir, "runs"), scripted };
}

/** What such a lab is made of. */
export const partsOf = (folder: string, trainers: InstantTrainers): LabParts => ({
  dir: folder,
  openReader: () => openStore({ dir: folder, mode: "read" }),
  openWriter: () => openStore({ dir: folder, mode: "write" }),
  placer: () => Promise.resolve(trainers.placer),
  connectTrainer: () => trainers.connect(),
  connectTextTrainer: () => Promise.reject(new Error("no texts here")),
  clock: systemClock,
  freeMemoryBytes: () => Infinity,
  maxTrainers: () => Promise.resolve(1),
  writeResults,
  leaseMs: 60_000,
  newId: randomUUID,
});

/** A lab on a folder whose trainers are in this process. */
export const openFolder = (folder: string, trainers: InstantTrainers): FolderLab =>
  new FolderLab(folder, new LocalLab(partsOf(folder, trainers)));

export async function collect(handle: SweepHandle, afterPosition = 0): Promise<SweepEvent[]> {
  const seen: SweepEvent[] = [];
  for await (const event of handle.events(afterPosition)) seen.push(event);
  return seen;
}
