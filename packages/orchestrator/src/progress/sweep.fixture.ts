import type { Inspected } from "@bora/contracts";
import type { SweepEvent } from "@bora/sdk";

const start = Date.UTC(2026, 0, 1, 12, 0, 0);
export const sweepId = "tiny-0123abcd";
export const runId = "3f0c1b9e-0000-4000-8000-000000000001";

const split = { train: 60, validation: 20, test: 20 };
export const inspected: Inspected = {
  tasks: ["Hamlet", "Rosalind"].map((name) => ({
    ...{ name, slug: name.toLowerCase(), documents: split },
    scoredTokens: { train: 2400, validation: 800, test: 800 },
    ...{ cutDocuments: 3, cutTokens: 41 },
  })),
  ...{
    dataHash: "d",
    modelHash: "m",
    modelName: "tiny",
    baseParameters: 1e6,
    parametersPerRow: 4096,
    adaptedModules: 4,
  },
  ...{ files: [], warnings: [], bytesPerRow: 1, baseBytes: 1, trainTokensPerSecond: 0, evaluateTokensPerSecond: 0 },
  ...{ bytesPerFit: 1, activationBytesPerToken: 1, keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1 },
  ...{ processBytes: 1, prefixCacheBytes: 0, device: "cpu", freeMemoryBytes: 1, memoryBytes: 1 },
};

export const taus = [0, 1e3, Infinity];
export const trials = taus.map((tau, index) => ({ id: `trial${index}`, tau, seed: 0 }));
const trialIds = trials.map(({ id }) => id);

/** Events of a small sweep: body by body, one second apart, numbered as a store would. */
export function eventsOf(bodies: readonly SweepEvent["event"][]): SweepEvent[] {
  return bodies.map((event, index) => ({
    position: index + 1,
    at: start + index * 1000,
    sweepId,
    runId: "kind" in event && event.kind === "sweep_planned" ? `control:${sweepId}` : runId,
    seq: index + 1,
    attempt: 1,
    event,
  }));
}

export const planned: SweepEvent["event"] = {
  kind: "sweep_planned",
  plan: { sweepId, name: "tiny", trials, packs: [{ id: "p", trialIds }] },
  experiment: { train: { maxSteps: 400 } },
  inspected,
};

export const leased: SweepEvent["event"] = {
  ...{ kind: "lease_granted", runId, attempt: 1, trainerId: "t1", trialIds },
  ...{ leaseMs: 60_000, firstSeq: 1, resumeStep: 0 },
};

export const started: SweepEvent["event"] = {
  ...{ kind: "run_started", step: 0, rows: 6, parametersPerRow: 4096, stepsPerEpoch: 26, device: "cpu" },
  ...{ dtype: "bfloat16", dtypeReason: "native", threads: 2, versions: { bora: "0.1.0" }, prefixCache: "" },
};

export const filled = (tokens: number): SweepEvent["event"] => ({
  ...{ kind: "prefix_cache_filled", tokens, ofTokens: 80_000, seconds: 12.5 },
});

export const steps = (step: number, tokens = 5000): SweepEvent["event"] => ({
  ...{ kind: "steps_done", step, steps: 25, tokens, seconds: 2.5, real: tokens + 50, padded: 10 },
  fits: trialIds.map((trialId, index) => ({ trialId, natsPerToken: 4.5 - step / 100 + index / 10 })),
});

export const validated = (trialId: string, step: number, natsPerToken: number): SweepEvent["event"] => ({
  ...{ kind: "evaluated", trialId, scored: "task", split: "validation", step, tasks: [], natsPerToken },
  ...{ best: true, complete: false, seconds: 1 },
});

/** Planned, leased, two windows of steps with a validation between, one trial done: what a live view shows. */
export const midway: SweepEvent[] = eventsOf([
  planned,
  leased,
  started,
  {
    ...{ kind: "evaluated", trialId: "", scored: "base", split: "validation", step: 0, tasks: [] },
    ...{ natsPerToken: 5.25, best: false, complete: true, seconds: 2 },
  },
  steps(25),
  ...trialIds.map((id, index) => validated(id, 25, 4.75 + index / 10)),
  { kind: "checkpoint_saved", step: 25, artifact: null },
  steps(50),
  validated("trial0", 50, 4.7),
  {
    ...{ kind: "trial_done", trialId: "trial0", steps: 50, bestStep: 50, ended: "validation" },
    validationNatsPerToken: 4.7,
  },
]);
export const endOfMidway = start + midway.length * 1000;
