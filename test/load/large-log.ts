import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseExperiment, wire, type ControlEvent, type Inspected, type SweepResults } from "@bora/contracts";
import { foldSweep, plan, Snapshots } from "@bora/scheduler";
import { openStore, type NewEvent, type Store, type StoreLocation } from "@bora/store";
import { openBulkLoad, type BulkRun } from "./bulk-load.js";
import { experimentOf } from "./experiment.js";
import { natsAt, slugOf, tasks } from "./fake-run.js";

const [sweepCount, trials, trialsInPack, evaluations] = [4, 1_000, 4, 40];
const tailEvents = 19_000; // after the newest snapshot of the sweep that was left off: nearly as many as there may be
const appendAtOnce = 1_000;
const at = new Date(Date.UTC(2026, 0, 1));

const counts = { train: 40, validation: 10, test: 10 };
const inspected = {
  tasks: tasks.map((name) => ({
    ...{ name, slug: slugOf(name), documents: counts, scoredTokens: counts, cutDocuments: 0, cutTokens: 0 },
  })),
  ...{ dataHash: "d".repeat(64), modelHash: "m".repeat(64), modelName: "a model", baseParameters: 1 },
  ...{ parametersPerRow: 8, adaptedModules: 1, files: [], warnings: [], bytesPerRow: 1, baseBytes: 1 },
  ...{ trainTokensPerSecond: 1, evaluateTokensPerSecond: 1, bytesPerFit: 1, activationBytesPerToken: 1 },
  ...{ keptBytesPerToken: 1, microBatchTokens: 4_096, workingBytes: 1, processBytes: 1, prefixCacheBytes: 0 },
  ...{ device: "cpu", freeMemoryBytes: 2 ** 36, memoryBytes: 2 ** 36 },
} satisfies Inspected;

type Body = NonNullable<wire.Event["body"]>;
interface Run {
  runId: string;
  trialIds: readonly string[];
  told: number; // events
}

interface LargeSweep {
  sweepId: string;
  name: string;
  runs: Run[];
  controlSeq: number;
}

const control = (sweep: LargeSweep, event: ControlEvent): NewEvent => ({
  ...{ sweepId: sweep.sweepId, runId: `control:${sweep.sweepId}`, seq: (sweep.controlSeq += 1), attempt: 0 },
  body: { stream: "control", event },
});

function trainer(sweepId: string, run: Run, body: Body, trialId = ""): NewEvent & { body: { event: wire.Event } } {
  const { runId } = run;
  const seq = (run.told += 1);
  const event: wire.Event = { runId, seq, attempt: 1, at, trialId, body };
  return { sweepId, runId, seq, attempt: 1, body: { stream: "trainer", event } };
}

const window = (run: Run, step: number): Body => {
  const fits = run.trialIds.map((trialId, place) => ({ trialId, natsPerToken: natsAt(place, step) }));
  const stepsDone = { step, steps: 1, tokens: 4_096n, seconds: 0.1, fits, real: 4_200n, padded: 60n };
  return { $case: "stepsDone", stepsDone };
};

const evaluation = (place: number, step: number): Body => {
  const scored = tasks.map((_, task) => ({ task, nats: 500 * natsAt(place + task, step), tokens: 500n }));
  const about = { scored: wire.Scored.TASK, split: wire.Split.VALIDATION, best: true, complete: false, seconds: 0.1 };
  return { $case: "evaluated", evaluated: { ...about, step, tasks: scored } };
};

/** A run's training: windows, and every trial's evaluations spread over them. */
function* training(sweepId: string, run: Run, windows: number): Generator<NewEvent & { body: { event: wire.Event } }> {
  yield trainer(sweepId, run, { $case: "runStarted", runStarted: wire.RunStarted.fromPartial({ rows: 16 }) });
  const every = Math.max(1, Math.floor(windows / evaluations));
  for (let step = 1; step <= windows; step += 1) {
    yield trainer(sweepId, run, window(run, step));
    if (step % every !== 0) continue;
    for (const [place, trialId] of run.trialIds.entries())
      yield trainer(sweepId, run, evaluation(place, step), trialId);
  }
}

async function append(store: Store, events: Iterable<NewEvent>): Promise<number> {
  let last = 0;
  let batch: NewEvent[] = [];
  const flush = async () => {
    last = (await store.append(batch)).at(-1)?.position ?? last;
    batch = [];
  };
  for (const event of events) if (batch.push(event) >= appendAtOnce) await flush();
  await flush();
  return last;
}

function* beginning(sweep: LargeSweep, planned: ControlEvent, leases: ControlEvent[]): Generator<NewEvent> {
  yield control(sweep, planned);
  yield control(sweep, { kind: "trials_queued", trialIds: sweep.runs.flatMap(({ trialIds }) => trialIds) });
  for (const lease of leases) yield control(sweep, lease);
}

/** Plans a sweep and grants the lease of every run, through the store itself. */
async function begin(store: Store, number: number): Promise<{ sweep: LargeSweep; position: number }> {
  const name = `large-${number}`;
  const experiment = parseExperiment(experimentOf({ name, trials, trialsInPack }));
  const planned = plan(experiment, inspected, { memoryBytes: Infinity });
  const runs = planned.packs.map(({ trialIds }, place) => ({
    runId: `00000000-0000-4000-8${String(number).padStart(3, "0")}-${String(place).padStart(12, "0")}`,
    ...{ trialIds, told: 0 },
  }));
  const sweep = { sweepId: planned.sweepId, name, runs, controlSeq: 0 };
  const leases = runs.map(({ runId, trialIds }, place) => ({
    ...{ kind: "lease_granted" as const, runId, attempt: 1, trainerId: `${sweep.sweepId}-t${place + 1}` },
    ...{ trialIds: [...trialIds], leaseMs: 60_000, firstSeq: 1, resumeStep: 0 },
  }));
  const first = { kind: "sweep_planned" as const, plan: planned, experiment: { ...experiment }, inspected };
  return { sweep, position: await append(store, beginning(sweep, first, leases)) };
}

function* ending(sweep: LargeSweep, steps: number): Generator<NewEvent> {
  const manifest = { path: "manifest.json", size: 1n, sha256: "0".repeat(64) };
  const done = { steps, bestStep: steps, ended: wire.Ended.LIMIT, validationNatsPerToken: 3, manifest };
  for (const run of sweep.runs) {
    for (const trialId of run.trialIds) {
      yield trainer(
        sweep.sweepId,
        run,
        { $case: "trialDone", trialDone: { ...done, float32Check: undefined } },
        trialId,
      );
      yield control(sweep, { kind: "artifacts_fetched", trialId, runId: run.runId });
    }
    const runDone = { manifest: undefined, seconds: 1, peakMemoryBytes: 1n };
    yield trainer(sweep.sweepId, run, { $case: "runDone", runDone });
  }
  yield control(sweep, { kind: "sweep_ended", outcome: "done" });
}

/** results.json of an ended sweep, as far as a list of sweeps reads it. */
function writeResults(out: string, { sweepId, name, runs }: LargeSweep): void {
  const experiment = experimentOf({ name, trials, trialsInPack });
  const nothing = { validation: null, test: null, priorMean: null, failure: null, float32Check: null, distances: null };
  const of = { tau: 1, seed: 0, state: "done", steps: 1, bestStep: 1, ended: "limit" } as const;
  const results: SweepResults = {
    ...{ schemaVersion: 1, sweepId, experiment, versions: {}, execution: null, base: null, best: null, warnings: [] },
    model: { name: inspected.modelName, hash: inspected.modelHash },
    data: { hash: inspected.dataHash, tasks: inspected.tasks },
    trials: runs.flatMap(({ trialIds }) =>
      trialIds.map((id) => ({
        id,
        ...of,
        ...nothing,
        learning: { steps: [], natsPerToken: [] },
        taskBestSteps: [],
        oneStepCost: null,
      })),
    ),
  };
  mkdirSync(join(out, sweepId), { recursive: true });
  writeFileSync(join(out, sweepId, "results.json"), JSON.stringify(results));
}

async function keepSnapshot(store: Store, sweepId: string): Promise<void> {
  await new Snapshots(store, 1).stored(await foldSweep(store, sweepId), 1);
}

/** Ends all sweeps but the last, which is left off some way after its newest snapshot. */
async function end(store: Store, sweeps: readonly LargeSweep[], out: string, windows: number): Promise<LargeSweep> {
  for (const sweep of sweeps.slice(0, -1)) {
    await append(store, ending(sweep, windows));
    await keepSnapshot(store, sweep.sweepId);
    writeResults(out, sweep);
  }
  const left = sweeps.at(-1);
  const run = left?.runs.at(-1);
  if (left === undefined || run === undefined) throw new RangeError("no sweep was made");
  await keepSnapshot(store, left.sweepId);
  const tail = Array.from({ length: tailEvents }, (_, place) => window(run, windows + place + 1));
  await append(
    store,
    tail.map((body) => trainer(left.sweepId, run, body)),
  );
  return left;
}

/**
 * A store of about so many events: sweeps of 1,000 trials, all but one of them ended, with the snapshots that their
 * controllers would have kept. Returns the one that was left off.
 */
export async function writeLargeLog(location: StoreLocation, out: string, events: number): Promise<string> {
  mkdirSync(out, { recursive: true });
  const runsInAll = (sweepCount * trials) / trialsInPack;
  const windows = Math.round(events / runsInAll) - evaluations * trialsInPack;
  const sweeps: LargeSweep[] = [];
  for (let number = 1; number <= sweepCount; number += 1) {
    await using store = await openStore({ ...location, mode: "write" });
    sweeps.push((await begin(store, number)).sweep);
  }
  await load(location, sweeps, windows);
  await using store = await openStore({ ...location, mode: "write" });
  return (await end(store, sweeps, out, windows)).sweepId;
}

async function load(location: StoreLocation, sweeps: readonly LargeSweep[], windows: number): Promise<void> {
  let position = 1 + sweeps.reduce((sum, { controlSeq }) => sum + controlSeq, 0);
  await using bulk = await openBulkLoad(location);
  for (const { sweepId, runs } of sweeps)
    for (const run of runs) {
      const rows: BulkRun["rows"] = [];
      for (const { seq, body } of training(sweepId, run, windows)) {
        const { event } = body;
        rows.push({ seq, kind: event.body?.$case ?? "", body: Buffer.from(wire.Event.encode(event).finish()) });
      }
      await bulk.insert({ sweepId, runId: run.runId, firstPosition: position, rows });
      position += rows.length;
    }
}
