import { parseExperiment, type Inspected, type Plan, type Tau } from "@bora/contracts";
import type { SweepEvent } from "@bora/sdk";
import { packMemory } from "@bora/sdk/controller";
import { z } from "zod";

type Body = SweepEvent["event"];
type Kind<K extends Body["kind"]> = Extract<Body, { kind: K }>;

export interface TrialProgress {
  id: string;
  tau: Tau;
  seed: number;
  at: "planned" | "training" | "stopped" | "done" | "failed" | "cancelled" | "adopted";
  train: number | null; // nats a token, macro, last window
  validation: (number | null)[]; // nats a token, macro, one an evaluation
  bestStep: number | null;
  steps: number | null;
  ended: "validation" | "limit" | null;
  failure: string | null; // its code
}

export interface PackProgress {
  runId: string;
  number: number; // as people count: from 1
  trialIds: string[];
  attempt: number;
  at: "starting" | "training" | "waiting" | "finished";
  rows: number;
  device: string;
  predictedBytes: number | null; // of its process at the peak
  step: number;
  firstStep: number; // where this attempt began
  startedAt: number; // ms; of this attempt's first step window
  lastAt: number; // ms; of the last event
  tokensPerSecond: number; // scored training tokens, smoothed over windows
  note: string; // last thing that happened, when it is not a step
}

/** All a view needs, folded from the events alone, so that whoever follows a sweep sees what its controller sees. */
export interface Progress {
  sweepId: string;
  name: string;
  tasks: string[];
  maxSteps: number;
  experiment: unknown; // as it was planned
  inspected: Inspected | null;
  startedAt: number; // ms; of the first event of this process's view
  packCount: number;
  packs: Map<string, PackProgress>; // by run id
  trials: Map<string, TrialProgress>; // in the plan's order
  baseValidation: number | null; // nats a token, macro
  lastCheckpoint: { step: number; at: number } | null;
  paused: string | null;
  draining: boolean;
  warnings: string[];
  outcome: Kind<"sweep_ended">["outcome"] | null;
}

export const noProgress = (startedAt: number): Progress => ({
  sweepId: "",
  name: "",
  tasks: [],
  maxSteps: 0,
  experiment: null,
  inspected: null,
  startedAt,
  packCount: 0,
  packs: new Map(),
  trials: new Map(),
  baseValidation: null,
  lastCheckpoint: null,
  paused: null,
  draining: false,
  warnings: [],
  outcome: null,
});

const Limits = z.looseObject({ train: z.looseObject({ maxSteps: z.number() }) });

const plannedTrials = (plan: Plan, known: Progress["trials"]): Progress["trials"] =>
  new Map(
    plan.trials.map(({ id, tau, seed }) => [
      id,
      known.get(id) ?? {
        ...{ id, tau, seed, at: "planned", train: null, validation: [] },
        ...{ bestStep: null, steps: null, ended: null, failure: null },
      },
    ]),
  );

function planned(state: Progress, event: Kind<"sweep_planned">): Progress {
  const limits = Limits.safeParse(event.experiment);
  return {
    ...state,
    sweepId: event.plan.sweepId,
    name: event.plan.name,
    experiment: event.experiment,
    inspected: event.inspected,
    tasks: event.inspected.tasks.map(({ name }) => name),
    warnings: event.inspected.warnings,
    maxSteps: limits.success ? limits.data.train.maxSteps : 0,
    packCount: event.plan.packs.length,
    trials: plannedTrials(event.plan, state.trials),
  };
}

function withTrials(state: Progress, ids: readonly string[], change: Partial<TrialProgress>): Progress {
  const trials = new Map(state.trials);
  for (const id of ids) {
    const trial = trials.get(id);
    if (trial !== undefined) trials.set(id, { ...trial, ...change });
  }
  return { ...state, trials };
}

function withPack(state: Progress, runId: string, change: Partial<PackProgress>): Progress {
  const pack = state.packs.get(runId);
  return pack === undefined ? state : { ...state, packs: new Map(state.packs).set(runId, { ...pack, ...change }) };
}

/** Null for an experiment that this version does not read, or a plan from before memory was measured. */
function predictedBytes({ experiment, inspected }: Progress, trials: number): number | null {
  if (inspected === null || inspected.device === "") return null;
  try {
    return packMemory(parseExperiment(experiment), inspected, trials).peak;
  } catch {
    return null;
  }
}

function leaseGranted(state: Progress, event: Kind<"lease_granted">, at: number): Progress {
  const pack: PackProgress = {
    ...{ runId: event.runId, trialIds: event.trialIds, attempt: event.attempt, step: event.resumeStep },
    number: state.packs.get(event.runId)?.number ?? state.packs.size + 1,
    ...{ at: "starting", rows: event.trialIds.length * state.tasks.length, device: "" },
    ...{ firstStep: event.resumeStep, startedAt: at, lastAt: at, tokensPerSecond: 0 },
    predictedBytes: predictedBytes(state, event.trialIds.length),
    note: event.attempt > 1 ? `attempt ${event.attempt}, from step ${event.resumeStep}` : "loading the model",
  };
  const state_ = { ...state, draining: false, packs: new Map(state.packs).set(event.runId, pack) };
  return withTrials(state_, event.trialIds, { at: "training" });
}

/** Half of the newest window, so that a person sees a change within a few windows and no flicker. */
const smooth = (before: number, now: number): number => (before === 0 ? now : 0.5 * before + 0.5 * now);

function stepsDone(state: Progress, runId: string, event: Kind<"steps_done">, at: number): Progress {
  const pack = state.packs.get(runId);
  if (pack === undefined) return state;
  const rate = event.seconds > 0 ? event.tokens / event.seconds : 0;
  const tokensPerSecond = smooth(pack.tokensPerSecond, rate);
  let next = withPack(state, runId, { at: "training", step: event.step, lastAt: at, tokensPerSecond, note: "" });
  for (const fit of event.fits) next = withTrials(next, [fit.trialId], { train: fit.natsPerToken });
  return next;
}

function evaluated(state: Progress, runId: string, event: Kind<"evaluated">, at: number): Progress {
  const next = withPack(state, runId, { lastAt: at });
  if (event.split !== "validation") return next;
  if (event.scored === "base") return { ...next, baseValidation: event.natsPerToken };
  const trial = next.trials.get(event.trialId);
  if (trial === undefined || event.scored !== "task" || event.complete) return next;
  const validation = [...trial.validation, event.natsPerToken];
  return withTrials(next, [trial.id], { validation, ...(event.best ? { bestStep: event.step } : {}) });
}

function trialDone(state: Progress, event: Kind<"trial_done">): Progress {
  const { steps, bestStep, ended } = event;
  return withTrials(state, [event.trialId], { at: "done", steps, bestStep, ended });
}

/** One event further; pure. An event it does not show changes nothing. */
export function advance(state: Progress, { runId, at, event }: SweepEvent): Progress {
  switch (event.kind) {
    case "sweep_planned":
      return planned(state, event);
    case "lease_granted":
      return leaseGranted(state, event, at);
    case "run_started": {
      const { step, rows, device, dtype } = event;
      const running = { step, firstStep: step, rows, device: `${device} ${dtype}`, startedAt: at, lastAt: at };
      return withPack(state, runId, { at: "training", note: "", ...running });
    }
    case "prefix_cache_filled": {
      const part = Math.floor((100 * event.tokens) / event.ofTokens);
      return withPack(state, runId, { lastAt: at, note: part < 100 ? `hidden states ${part} %` : "" });
    }
    case "steps_done":
      return stepsDone(state, runId, event, at);
    case "evaluated":
      return evaluated(state, runId, event, at);
    case "checkpoint_saved":
      return { ...withPack(state, runId, { lastAt: at }), lastCheckpoint: { step: event.step, at } };
    case "micro_batch_halved":
      return withPack(state, runId, { lastAt: at, note: `out of memory: ${event.rowsPerMicroBatch} rows at once` });
    case "trial_done":
      return trialDone(state, event);
    case "trial_failed":
      return withTrials(state, [event.trialId], { at: "failed", failure: event.failure.code });
    case "trials_failed":
      return withTrials(state, event.trialIds, { at: "failed", failure: event.code });
    case "metrics_missing":
      return withTrials(state, event.trialIds, { at: "failed", failure: "metrics_missing" });
    case "results_lost":
      return event.trialId === null
        ? state
        : withTrials(state, [event.trialId], { at: "failed", failure: "metrics_missing" });
    default:
      return advanceControl(state, runId, event);
  }
}

function runFailed(state: Progress, runId: string, event: Kind<"run_failed">): Progress {
  const next = withPack(state, runId, { at: "waiting", note: event.drained ? "stopped" : event.failure.code });
  const trials = (state.packs.get(runId)?.trialIds ?? []).filter((id) => state.trials.get(id)?.at === "training");
  return event.drained ? withTrials(next, trials, { at: "stopped" }) : next;
}

function advanceControl(state: Progress, runId: string, event: Body): Progress {
  switch (event.kind) {
    case "run_done":
      return withPack(state, runId, { at: "finished", note: "finished" });
    case "run_failed":
      return runFailed(state, runId, event);
    case "attempt_failed":
      return withPack(state, event.runId, { at: "waiting", note: `attempt ${event.attempt}: ${event.code}` });
    case "lease_expired":
      return withPack(state, event.runId, { at: "waiting", note: "the lease ran out" });
    case "trial_adopted":
      return withTrials(state, [event.trialId], { at: "adopted" });
    case "trials_requeued":
      return withTrials(state, event.trialIds, { at: "planned", failure: null });
    case "trials_cancelled":
      return withTrials(state, event.trialIds, { at: "cancelled" });
    case "paused":
      return { ...state, paused: `${event.code}: ${event.reason}` };
    case "resumed":
      return { ...state, paused: null };
    case "drain_requested":
      return { ...state, draining: true };
    case "sweep_ended":
      return { ...state, outcome: event.outcome };
    default:
      return state;
  }
}
