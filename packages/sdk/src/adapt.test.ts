import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseExperiment, type Inspected } from "@bora/contracts";
import { systemClock } from "@bora/scheduler";
import { openStore } from "@bora/store";
import type { InspectedBase } from "@bora/trainer-client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FolderLab } from "./folder-lab.js";
import { InstantTrainers } from "./instant-trainer.fixture.js";
import { LocalLab } from "./local-lab.js";
import { writeResults } from "./write-results.js";

let dir: string;
let files: Inspected["files"];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-"));
  const path = join(dir, "data.csv");
  await writeFile(path, "task,text\n");
  const { size, mtimeMs } = await stat(path);
  files = [{ path, size, modifiedMs: Math.floor(mtimeMs) }];
});
afterEach(() => rm(dir, { recursive: true }));

const task = (name: string) => ({
  ...{ name, slug: name, documents: { train: 8, validation: 1, test: 1 }, cutDocuments: 0, cutTokens: 0 },
  scoredTokens: { train: 90, validation: 10, test: 10 },
});

/** What a trainer finds: the tasks that are named, and for each adapter folder a hash of its name. */
function inspects({ data, prior, evaluate }: InspectedBase): Inspected {
  const by = data?.tasks?.by;
  const named = by?.$case === "names" ? by.names.names : ["romeo", "juliet"];
  const folders = evaluate?.adapters.map(({ path }) => path) ?? [prior?.mean?.path ?? ""];
  return {
    ...{ tasks: named.map(task), dataHash: named.join(), modelHash: "m", modelName: "tiny", warnings: [], files },
    ...{ baseParameters: 1000, parametersPerRow: 8, adaptedModules: 2, bytesPerRow: 1000, baseBytes: 1000 },
    ...{ trainTokensPerSecond: 100, evaluateTokensPerSecond: 100, device: "cpu", freeMemoryBytes: 1, memoryBytes: 1 },
    ...{ bytesPerFit: 1, activationBytesPerToken: 1, keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1 },
    ...{ processBytes: 1, prefixCacheBytes: 0 },
    adapterFolders: folders.filter((path) => path !== "").map((path) => ({ path, sha256: `of ${path}` })),
  };
}

const base: InspectedBase = { model: undefined, data: undefined, adapter: undefined };

function trainersAndLab(lingers = false) {
  const trainers = new InstantTrainers({ inspected: inspects(base), inspects, lingers });
  const folder = join(dir, "runs");
  const local = new LocalLab({
    ...{ dir: folder, clock: systemClock, leaseMs: 60_000, newId: randomUUID, writeResults },
    openReader: () => openStore({ dir: folder, mode: "read" }),
    openWriter: () => openStore({ dir: folder, mode: "write" }),
    placer: () => Promise.resolve(trainers.placer),
    connectTrainer: () => trainers.connect(),
    freeMemoryBytes: () => Infinity,
    maxTrainers: () => Promise.resolve(1),
    connectTextTrainer: () => Promise.reject(new Error("no texts here")),
  });
  return { trainers, lab: new FolderLab(folder, local) };
}

const experiment = parseExperiment({
  name: "tiny",
  model: { source: "path", path: "/model" },
  data: { source: "shakespeare", tasks: { all: true } },
  adapter: { targets: ["q_proj"] },
  prior: { taus: [0, 1, "inf"] },
});

async function swept(lab: FolderLab): Promise<string> {
  const handle = await lab.sweep(experiment);
  await handle.outcome();
  return handle.sweepId;
}

describe("adapting to a new task", () => {
  it("trains it under Theta that is fixed and from scratch, and compares them with Theta and the base", async () => {
    const { trainers, lab } = trainersAndLab();
    await using _lab = lab;
    const sweepId = await swept(lab);
    const seen: string[] = [];
    const onSweep = (_: unknown, words: string) => seen.push(words);
    const { adaptation, folder } = await lab.adapt({ sweepId, task: "nurse", documents: 4 }, { onSweep });
    const [under, scratch] = trainers.asked.starts.slice(1).map(({ spec }) => spec);
    const theta = join(dir, "runs", sweepId, "adapters", adaptation.prior.trialId, "prior-mean");
    expect(under?.prior?.mean).toEqual({ path: theta, fixed: true, sha256: `of ${theta}` });
    expect(under?.fits.map(({ tau }) => tau)).toEqual([1]);
    expect(under?.data?.tasks).toMatchObject({ by: { names: { names: ["nurse"] } }, trainDocuments: [4] });
    expect(scratch?.prior?.mean).toBeUndefined();
    expect(scratch?.fits.map(({ tau }) => tau)).toEqual([0]);
    expect(adaptation.models.map(({ name, natsPerToken }) => [name, natsPerToken])).toEqual([
      ["base", 5],
      ["prior-mean", 2],
      ["scratch", 3],
      ["adapted", 2],
    ]);
    expect(seen).toEqual(["nurse under Theta of tau = 1", "nurse from scratch"]);
    expect(existsSync(join(folder, "adapter", "adapter_model.safetensors"))).toBe(true);
    expect(JSON.parse(await readFile(join(folder, "adapt.json"), "utf8"))).toMatchObject({ task: "nurse", tau: 1 });
    const parts = (await lab.status()).map(({ partOf }) => partOf);
    expect(parts.filter((partOf) => partOf === sweepId)).toHaveLength(2);
  });

  it("trains nothing a second time", async () => {
    const { trainers, lab } = trainersAndLab();
    await using _lab = lab;
    const sweepId = await swept(lab);
    const first = await lab.adapt({ sweepId, task: "nurse" });
    const starts = trainers.asked.starts.length;
    expect(await lab.adapt({ sweepId, task: "nurse" })).toEqual(first);
    expect(trainers.asked.starts).toHaveLength(starts);
  });

  it("stops at a checkpoint when it is told to, and goes on from there", async () => {
    const before = trainersAndLab();
    const sweepId = await swept(before.lab);
    await before.lab[Symbol.asyncDispose]();
    const { trainers, lab } = trainersAndLab(true);
    const stopping = new AbortController();
    const request = { sweepId, task: "nurse" };
    const onSweep = () => {
      setImmediate(() => stopping.abort());
    };
    await expect(lab.adapt(request, { signal: stopping.signal, onSweep })).rejects.toMatchObject({
      code: "interrupted",
    });
    await lab[Symbol.asyncDispose]();
    expect(trainers.asked.starts.length).toBeLessThanOrEqual(1);
    const after = trainersAndLab();
    await using _lab = after.lab;
    expect((await after.lab.adapt(request)).adaptation.task).toBe("nurse");
  });

  it("leaves every task out in turn for few-shot curves", async () => {
    const { lab } = trainersAndLab();
    await using _lab = lab;
    const sweepId = await swept(lab);
    await expect(lab.fewShotCurves({ sweepId })).rejects.toMatchObject({
      code: "usage",
      message: "leaving one of 2 tasks out leaves 1 to learn Theta from",
    });
    await expect(lab.fewShotCurves({ sweepId, tasks: ["nobody"] })).rejects.toMatchObject({
      message: `${sweepId} has no task nobody`,
    });
  });
});

describe("evaluating adapters", () => {
  it("scores each as a trial of one run and names what it read", async () => {
    const { trainers, lab } = trainersAndLab();
    await using _lab = lab;
    const sweepId = await swept(lab);
    const of = { sweepId };
    const data = { path: join(dir, "data.csv"), columns: { text: "text" } };
    const adapters = ["theta@1", "romeo@inf"];
    const { evaluation, folder } = await lab.evaluate({ of, adapters, data, tasks: ["romeo"] });
    const [start] = trainers.asked.starts.slice(-1);
    expect(start?.spec.evaluate?.adapters.map(({ path }) => path)).toEqual(
      evaluation.adapters.map((adapter) => adapter.folder),
    );
    expect(evaluation.adapters.map(({ name }) => name)).toEqual(["theta@1", "romeo@inf"]);
    expect(evaluation.differences).toMatchObject([{ first: "romeo@inf", second: "theta@1" }]);
    expect(existsSync(join(folder, "documents.parquet"))).toBe(true);
    expect(existsSync(join(folder, "report.html"))).toBe(false);
  });

  it("refuses an adapter that is named twice", async () => {
    const { lab } = trainersAndLab();
    await using _lab = lab;
    const of = { sweepId: await swept(lab) };
    await expect(lab.evaluate({ of, adapters: ["base", "base"] })).rejects.toMatchObject({
      code: "usage",
      message: "base is named twice among 2 adapters",
    });
  });
});
