import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { parseExperiment, type ExperimentSpec, type Inspected } from "@bora/contracts";
import { systemClock } from "@bora/scheduler";
import { openStore, type NewEvent } from "@bora/store";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { compareStoredSweeps } from "./compare-stored-sweeps.js";
import { FolderLab } from "./folder-lab.js";
import { InstantTrainers, type TrainerScript } from "./instant-trainer.fixture.js";
import { LocalLab } from "./local-lab.js";
import { reportSweep } from "./report-sweep.js";
import { writeResults } from "./write-results.js";

let dir: string;
let inspected: Inspected;
const runs = () => join(dir, "runs");
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-"));
  const path = join(dir, "data.csv");
  await writeFile(path, "task,text\n");
  const { size, mtimeMs } = await stat(path);
  inspected = { ...facts, files: [{ path, size, modifiedMs: Math.floor(mtimeMs) }] };
});
afterEach(() => rm(dir, { recursive: true }));

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

const experiment = (taus: (number | string)[] = [0, 1, "inf"], name = "tiny"): ExperimentSpec =>
  parseExperiment({
    name,
    model: { source: "path", path: "/model" },
    data: { source: "shakespeare", tasks: { all: true } },
    adapter: { targets: ["q_proj"] },
    prior: { taus },
  });

/** Runs an experiment to its end in a folder; returns the sweep's id. */
async function trained(spec: ExperimentSpec, folder = runs(), script: Partial<TrainerScript> = {}): Promise<string> {
  const trainers = new InstantTrainers({ inspected, ...script });
  await using lab = new FolderLab(
    folder,
    new LocalLab({
      dir: folder,
      openReader: () => openStore({ dir: folder, mode: "read" }),
      openWriter: () => openStore({ dir: folder, mode: "write" }),
      placer: () => Promise.resolve(trainers.placer),
      connectTrainer: () => trainers.connect(),
      clock: systemClock,
      freeMemoryBytes: () => Infinity,
      maxTrainers: () => Promise.resolve(1),
      connectTextTrainer: () => Promise.reject(new Error("no texts here")),
      writeResults,
      leaseMs: 60_000,
      newId: randomUUID,
    }),
  );
  const handle = await lab.sweep(spec);
  for await (const { event } of handle.events())
    if (script.lingers === true && event.kind === "checkpoint_saved") await handle.send({ verb: "drain" });
  await handle.outcome();
  return handle.sweepId;
}

/** A folder in which the controller died as soon as one trial's files were there. */
async function halfWay(sweepId: string): Promise<string> {
  const other = join(dir, "half");
  const kept: NewEvent[] = [];
  {
    await using whole = await openStore({ dir: runs(), mode: "read" });
    for await (const { position: _, recordedAtMs: __, ...event } of whole.read({})) {
      kept.push(event);
      if (
        event.body.stream === "control" &&
        event.body.event.kind === "artifacts_fetched" &&
        event.body.event.trialId !== null
      )
        break;
    }
  }
  {
    await using store = await openStore({ dir: other, mode: "write" });
    await store.append(kept);
  }
  await cp(join(runs(), sweepId), join(other, sweepId), { recursive: true });
  for (const name of ["results.json", "documents.parquet", "report.html"]) await rm(join(other, sweepId, name));
  return other;
}

describe("a report", () => {
  test("of a sweep that has ended goes where it is told, the same bytes from the files alone", async () => {
    const sweepId = await trained(experiment());
    const found = await reportSweep({ dir: runs(), sweepId }, join(dir, "to"));
    expect(found).toMatchObject({ folder: join(dir, "to"), open: 0 });
    expect((await readdir(join(dir, "to"))).toSorted()).toEqual(["figures", "report.html", "tables"]);
    const html = await readFile(join(dir, "to/report.html"), "utf8");
    expect(html).not.toContain("Unfinished");
    await reportSweep({ folder: join(runs(), sweepId) }, join(dir, "again"));
    expect(await readFile(join(dir, "again/report.html"), "utf8")).toBe(html);
    expect(await readFile(join(runs(), sweepId, "report.html"), "utf8")).toBe(html);
  });

  test("carries curves, best steps and distances in the order of the data, those of adopted trials too", async () => {
    await trained(experiment([0, 1]));
    const sweepId = await trained(experiment([0, 1, "inf"], "more"));
    const { results } = await reportSweep({ dir: runs(), sweepId }, join(dir, "to"));
    expect(results.trials).toHaveLength(3);
    for (const trial of results.trials)
      expect(trial).toMatchObject({
        learning: { steps: [5, 10], natsPerToken: [2.05, 2.15] },
        taskBestSteps: [5, 10],
        oneStepCost: expect.closeTo(0.05) as number,
        distances: { factors: [0.25, 0.5], changes: [0.1, 0.2], priorMean: 2 },
      });
  });

  test("says nothing of one step for all tasks where each kept its own", async () => {
    const spec = experiment([0]);
    const sweepId = await trained({ ...spec, train: { ...spec.train, bestStep: "task" } });
    const { results } = await reportSweep({ dir: runs(), sweepId }, join(dir, "to"));
    expect(results.trials).toMatchObject([{ taskBestSteps: [5, 10], oneStepCost: null }]);
  });

  test("of one that is half way has what is there, marked as unfinished", async () => {
    const sweepId = await trained(experiment());
    const other = await halfWay(sweepId);
    const found = await reportSweep({ dir: other, sweepId }, join(dir, "to"));
    expect(found.open).toBeGreaterThan(0);
    expect(await readFile(join(dir, "to/report.html"), "utf8")).toMatch(/Unfinished: \d of 3 trials have not ended/);
    expect(found.results.trials.filter(({ test: scored }) => scored !== null).length).toBeGreaterThan(0);
  });

  test("of one without a done trial is results_missing, with the numbers", async () => {
    const sweepId = await trained(experiment(), runs(), { lingers: true });
    await expect(reportSweep({ dir: runs(), sweepId }, dir)).rejects.toMatchObject({
      code: "results_missing",
      message: `0 of 3 trials of sweep ${sweepId} are done`,
      hint: expect.stringContaining("bora status"),
    });
  });

  test("of an unknown sweep, of no sweep at all, and of a folder with nothing in it says so", async () => {
    await expect(reportSweep({ dir: runs(), sweepId: "nobody" })).rejects.toMatchObject({ code: "sweep_unknown" });
    await expect(reportSweep({ folder: dir })).rejects.toMatchObject({
      code: "results_missing",
      message: expect.stringContaining("without results.json"),
    });
    await expect(reportSweep({ folder: join(dir, "nowhere") })).rejects.toMatchObject({ message: /not there/ });
  });

  test("of results of another version is results_version, with both numbers", async () => {
    const sweepId = await trained(experiment());
    const file = join(runs(), sweepId, "results.json");
    const text = await readFile(file, "utf8");
    await writeFile(file, text.replace('"schemaVersion": 1', '"schemaVersion": 7'));
    await expect(reportSweep({ dir: runs(), sweepId })).rejects.toMatchObject({
      code: "results_version",
      message: expect.stringMatching(/schemaVersion 7, this version of BoRA reads 1/),
    });
  });

  test.each([
    ["cut", (text: string) => text.slice(0, 90)],
    ["of other fields", (text: string) => text.replaceAll('"trials"', '"tirals"')],
    ["no object", () => "[]"],
  ])("of a results.json that is %s is artifact_corrupt; deleted, it is made anew", async (_, damage) => {
    const sweepId = await trained(experiment());
    const file = join(runs(), sweepId, "results.json");
    await writeFile(file, damage(await readFile(file, "utf8")));
    await expect(reportSweep({ dir: runs(), sweepId })).rejects.toMatchObject({
      code: "artifact_corrupt",
      message: expect.stringContaining(file),
    });
    await rm(file);
    expect((await reportSweep({ dir: runs(), sweepId })).results.trials).toHaveLength(3);
  });

  test("of a documents.parquet that is cut, or of another sweep, is artifact_corrupt; deleted, it is made anew", async () => {
    const sweepId = await trained(experiment());
    const file = join(runs(), sweepId, "documents.parquet");
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, 100));
    const refused = {
      code: "artifact_corrupt",
      message: expect.stringContaining("documents.parquet"),
      hint: expect.stringContaining("delete it"),
    };
    await expect(reportSweep({ dir: runs(), sweepId })).rejects.toMatchObject(refused);
    const other = await trained(experiment([5]), join(dir, "others"));
    await cp(join(dir, "others", other, "documents.parquet"), file);
    await expect(reportSweep({ dir: runs(), sweepId })).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining("lacks the documents of 3 trials"),
    });
    await rm(file);
    expect((await reportSweep({ dir: runs(), sweepId })).open).toBe(0);
  });

  test("of distances that are cut is artifact_corrupt; without them the rest is reported", async () => {
    const sweepId = await trained(experiment());
    const { results } = await reportSweep({ dir: runs(), sweepId });
    const file = (id: string) => join(runs(), sweepId, "trials", id, "distances.json");
    for (const { id } of results.trials) await writeFile(file(id), "{");
    await expect(reportSweep({ dir: runs(), sweepId })).rejects.toMatchObject({
      code: "artifact_corrupt",
      message: expect.stringContaining("distances"),
    });
    for (const { id } of results.trials) await rm(file(id));
    expect((await reportSweep({ dir: runs(), sweepId })).missing.map(({ figure }) => figure)).toContain(
      "Map of the adapters",
    );
  });
});

describe("a comparison", () => {
  test("of a sweep of this folder and one of another writes page, figures and tables", async () => {
    const first = await trained(experiment());
    const second = await trained(experiment([0, 3], "other"), join(dir, "others"));
    const places = [{ dir: runs(), sweepId: first }, { folder: join(dir, "others", second) }];
    const found = await compareStoredSweeps(places, join(dir, "to"));
    expect(found.comparison.sweeps.map(({ label }) => label)).toEqual(["tiny", "other"]);
    expect(found.words.join(" ")).toMatch(/other cannot be compared .* one document a task and one seed/);
    expect(found.files).toEqual(
      expect.arrayContaining(["comparison.html", "figures/sweeps-by-tau.svg", "tables/sweeps.csv"]),
    );
    const page = await readFile(join(dir, "to/comparison.html"), "utf8");
    expect(page).toContain("prior.taus");
    await compareStoredSweeps(places, join(dir, "to"));
    expect(await readFile(join(dir, "to/comparison.html"), "utf8")).toBe(page);
  });

  test("takes two different sweeps", async () => {
    const sweepId = await trained(experiment());
    const place = { dir: runs(), sweepId };
    await expect(compareStoredSweeps([place], dir)).rejects.toMatchObject({
      code: "usage",
      message: /given 1 sweep; expected two/,
    });
    await expect(compareStoredSweeps([place, { folder: join(runs(), sweepId) }], dir)).rejects.toMatchObject({
      code: "usage",
      message: /only 1 different/,
    });
    await expect(compareStoredSweeps([place, { dir: runs(), sweepId: "nobody" }], dir)).rejects.toMatchObject({
      code: "sweep_unknown",
    });
  });
});
