import type { Inspected } from "@bora/contracts";
import type { SweepEvent } from "@bora/sdk";
import type { SweepLog } from "@bora/sdk/controller";

type Body = SweepEvent["event"];

export const sweepId = "tiny-0123abcd";
export const runId = "3f0c1b9e-0000-4000-8000-000000000001";
export const trainerId = "tiny-0123abcd-t1";
const start = Date.UTC(2026, 0, 1, 12, 0, 0);
const counts = { train: 60, validation: 20, test: 20 };

export const inspected: Inspected = {
  tasks: ["Hamlet", "Rosalind <b>"].map((name, place) => ({
    ...{ name, slug: `task-${place}`, documents: counts },
    scoredTokens: { train: 2400, validation: 800, test: 800 },
    ...{ cutDocuments: 3, cutTokens: 41 },
  })),
  ...{ dataHash: "d".repeat(64), modelHash: "m".repeat(64), modelName: "a model", baseParameters: 1e6 },
  ...{ parametersPerRow: 4096, adaptedModules: 4, files: [], warnings: ["few documents"], bytesPerRow: 1 },
  ...{ baseBytes: 1, trainTokensPerSecond: 0, evaluateTokensPerSecond: 0, bytesPerFit: 1 },
  ...{ activationBytesPerToken: 1, keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1, processBytes: 1 },
  ...{ prefixCacheBytes: 0, device: "cpu", freeMemoryBytes: 1, memoryBytes: 1 },
};

export const experiment = {
  name: "tiny",
  model: { source: "path", path: "/model" },
  data: { source: "shakespeare", tasks: { all: true } },
  adapter: { targets: ["q_proj"] },
  prior: { taus: [0, 1000, "inf"] },
  train: { maxSteps: 40 },
};

export const taus = [0, 1e3, Infinity];
export const trialIds = taus.map((_, place) => `trial${place}`);

export const planned = (id = sweepId): Body => ({
  kind: "sweep_planned",
  plan: {
    ...{ sweepId: id, name: "tiny", packs: [{ id: "p", trialIds }] },
    trials: taus.map((tau, place) => ({ id: `trial${place}`, tau, seed: 0 })),
  },
  ...{ experiment, inspected },
});

export const leased: Body = {
  ...{ kind: "lease_granted", runId, attempt: 1, trainerId, trialIds },
  ...{ leaseMs: 60_000, firstSeq: 1, resumeStep: 0 },
};

export const started: Body = {
  ...{ kind: "run_started", step: 0, rows: 6, parametersPerRow: 4096, stepsPerEpoch: 26, device: "cpu" },
  ...{ dtype: "float32", dtypeReason: "native", threads: 2, versions: { bora: "0.1.0" }, prefixCache: "" },
};

export const steps = (step: number): Body => ({
  ...{ kind: "steps_done", step, steps: 10, tokens: 500, seconds: 0.25, real: 1, padded: 0 },
  fits: trialIds.map((trialId, place) => ({ trialId, natsPerToken: 5 - step / 100 + place / 10 })),
});

const scoredTasks = (perToken: number) => [
  { task: 0, nats: 100 * perToken, tokens: 100 },
  { task: 1, nats: 50 * (perToken + 0.2), tokens: 50 },
];

type Split = "validation" | "test";
export const evaluated = (trialId: string, split: Split, step: number, perToken: number): Body => ({
  ...{ kind: "evaluated", trialId, scored: trialId === "" ? "base" : "task", split, step, seconds: 1 },
  ...{ tasks: scoredTasks(perToken), natsPerToken: perToken + 0.1, best: true, complete: true },
});

/** A trial's end: its best step scored on both splits, then done. */
export const done = (trialId: string, perToken: number): Body[] => [
  evaluated(trialId, "validation", 10, perToken),
  evaluated(trialId, "test", 10, perToken + 0.05),
  {
    ...{ kind: "trial_done", trialId, steps: 20, bestStep: 10, ended: "validation" },
    validationNatsPerToken: perToken,
  },
];

/** Trains for two evaluations; the first trial is done, the base is scored. */
export const midway: Body[] = [
  ...[planned(), leased, started, evaluated("", "validation", 0, 6), evaluated("", "test", 0, 6.1)],
  ...[steps(10), ...trialIds.map((id, place) => evaluated(id, "validation", 10, 4.8 - place / 10))],
  ...[steps(20), ...trialIds.map((id, place) => evaluated(id, "validation", 20, 4.7 - place / 10))],
  ...done("trial0", 4.8),
];

/** All of it: tau = inf wins. */
export const whole: Body[] = [
  ...midway,
  ...done("trial1", 4.7),
  ...done("trial2", 4.6),
  { kind: "run_done", seconds: 12, peakMemoryBytes: 2 ** 30 },
  { kind: "sweep_ended", outcome: "done" },
];

/** Numbered as a store would, a second apart. */
export const eventsOf = (bodies: readonly Body[], id = sweepId, first = 1): SweepEvent[] =>
  bodies.map((event, place) => ({
    ...{ position: first + place, at: start + place * 1000, sweepId: id, seq: first + place, attempt: 1, event },
    runId: event.kind === "sweep_planned" || event.kind === "lease_granted" ? `control:${id}` : runId,
  }));

/** A log in memory, to which a test adds. */
export class MemoryLog implements SweepLog {
  readonly stored: SweepEvent[];
  reads = 0; // events given

  constructor(bodies: readonly Body[] = []) {
    this.stored = eventsOf(bodies);
  }

  add(...bodies: Body[]): SweepEvent[] {
    const added = eventsOf(bodies, sweepId, this.stored.length + 1);
    this.stored.push(...added);
    return added;
  }

  sweeps() {
    const ids = [...new Set(this.stored.map((event) => event.sweepId))].reverse();
    return Promise.resolve(ids.map((id) => ({ sweepId: id, name: "tiny", plannedAtMs: start })));
  }

  async *events(id: string, afterPosition = 0): AsyncIterable<SweepEvent> {
    for (const event of this.stored.slice())
      if (event.sweepId === id && event.position > afterPosition) {
        this.reads += 1;
        yield event;
      }
  }

  atWork(): Promise<null> {
    return Promise.resolve(null);
  }

  last(id: string): Promise<SweepEvent | null> {
    return Promise.resolve(this.stored.findLast((event) => event.sweepId === id) ?? null);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
