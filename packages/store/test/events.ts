import { controlStream, type ControlEvent, type wire } from "@bora/contracts";
import type { NewEvent, StoredEvent, StoreReader } from "../src/index.js";

export const SWEEP = "shakespeare-0a1b2c3d";
export const RUN = "3f0e0d52-5a0c-4b7e-9d5e-7a3c1f2b4d60";

/** A controller's event. */
export const control = (seq: number, event: ControlEvent, sweepId = SWEEP): NewEvent => ({
  sweepId,
  runId: controlStream(sweepId),
  seq,
  attempt: 0,
  body: { stream: "control", event },
});

export const planned = (seq = 1, sweepId = SWEEP, name = "shakespeare"): NewEvent =>
  control(
    seq,
    {
      kind: "sweep_planned",
      plan: {
        sweepId,
        name,
        trials: [{ id: "00ff", tau: Infinity, seed: 0 }],
        packs: [{ id: "p1", trialIds: ["00ff"] }],
      },
      experiment: { name, prior: { taus: [0, Infinity] } },
      inspected: {
        tasks: [],
        dataHash: "d",
        modelHash: "m",
        modelName: "tiny",
        baseParameters: 10,
        parametersPerRow: 2,
        adaptedModules: 1,
        files: [],
        warnings: [],
        bytesPerRow: 8,
        baseBytes: 40,
        trainTokensPerSecond: 1,
        evaluateTokensPerSecond: 1,
        ...{ bytesPerFit: 1, activationBytesPerToken: 1, keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1 },
        ...{ processBytes: 1, prefixCacheBytes: 0, device: "cpu", freeMemoryBytes: 1, memoryBytes: 1 },
      },
    },
    sweepId,
  );

export const lease = (seq: number, attempt = 1, runId = RUN, sweepId = SWEEP): NewEvent =>
  control(
    seq,
    {
      kind: "lease_granted",
      runId,
      attempt,
      trainerId: "t1",
      trialIds: ["00ff"],
      leaseMs: 60_000,
      firstSeq: 1,
      resumeStep: 0,
    },
    sweepId,
  );

export const fetched = (seq: number, trialId: string | null, runId = RUN, sweepId = SWEEP): NewEvent =>
  control(seq, { kind: "artifacts_fetched", trialId, runId }, sweepId);

/** A trainer's event; by default a window of steps. */
export function trained(seq: number, of: Partial<Trained> = {}): NewEvent {
  const { attempt = 1, runId = RUN, sweepId = SWEEP, trialId = "", body = steps(seq) } = of;
  const event: wire.Event = { runId, seq, attempt, at: new Date(1_700_000_000_000 + seq), trialId, body };
  return { sweepId, runId, seq, attempt, body: { stream: "trainer", event } };
}

interface Trained {
  attempt: number;
  runId: string;
  sweepId: string;
  trialId: string;
  body: wire.Event["body"];
}

export const steps = (step: number): wire.Event["body"] => ({
  $case: "stepsDone",
  stepsDone: {
    step,
    steps: 1,
    tokens: 576n,
    seconds: 0.25,
    fits: [{ trialId: "00ff", natsPerToken: 4.5 }],
    real: 600n,
    padded: 24n,
  },
});

export const trialDone = (seq: number, trialId: string, of: Partial<Trained> = {}): NewEvent =>
  trained(seq, {
    trialId,
    body: {
      $case: "trialDone",
      trialDone: {
        steps: 75,
        bestStep: 50,
        ended: 1,
        validationNatsPerToken: 4.25,
        manifest: undefined,
        float32Check: undefined,
      },
    },
    ...of,
  });

export async function everything(store: StoreReader): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  for await (const event of store.read({})) events.push(event);
  return events;
}

/** A log that has begun: a plan, and a lease on RUN. */
export const begun = (): NewEvent[] => [planned(1), lease(2)];

const failed = { code: "child_killed", domain: "infra" as const, message: "it was killed", hint: "" };

/** A log with a decision of every kind that there was with schema 1, and a trainer's events. Never changed: schemas/1.sql has it. */
export const sampleLog = (): NewEvent[] => [
  planned(1),
  control(2, { kind: "trials_queued", trialIds: ["00ff"] }),
  lease(3),
  trained(1),
  trialDone(2, "00ff"),
  control(4, { kind: "attempt_failed", runId: RUN, attempt: 1, ...failed, retryAtMs: 1_700_000_005_000 }),
  control(5, { kind: "lease_expired", runId: RUN, attempt: 1 }),
  lease(6, 2),
  trained(3, { attempt: 2 }),
  control(7, { kind: "pack_split", runId: RUN, packs: [{ id: "p1.1", trialIds: ["00ff"] }] }),
  control(8, { kind: "trials_failed", trialIds: ["00ff"], ...failed }),
  control(9, { kind: "metrics_missing", trialIds: ["00ff"], runId: RUN, lastSeq: 3 }),
  control(10, { kind: "trials_requeued", trialIds: ["00ff"], reason: "retry" }),
  control(11, { kind: "paused", code: "breaker", reason: "3 failed" }),
  control(12, { kind: "resumed" }),
  control(13, { kind: "drain_requested" }),
  control(14, { kind: "cancel_requested" }),
  control(15, { kind: "trials_cancelled", trialIds: ["00ff"] }),
  control(16, {
    ...{ kind: "trial_adopted", trialId: "00ff", fromSweepId: "older-00000000", runId: RUN },
    outcome: { steps: 75, bestStep: 50, ended: "limit", nllPerToken: 4.25, float32Check: null },
  }),
  fetched(17, "00ff"),
  control(18, { kind: "sweep_ended", outcome: "done" }),
];
