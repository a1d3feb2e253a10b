import { parseExperiment, type Inspected, type Tau } from "@bora/contracts";
import { packMemory } from "@bora/scheduler";
import { z } from "zod";
import type { SweepEvent } from "../sweep-event.js";

type Body = SweepEvent["event"];
type Kind<K extends Body["kind"]> = Extract<Body, { kind: K }>;

export interface TrialProgress {
  id: string;
  tau: Tau;
  seed: number;
  at: "planned" | "training" | "stopped" | "done" | "failed" | "cancelled" | "adopted";
  train: number | null; // nats a token, macro, last window
  validation: (number | null)[]; // nats a token, macro, one an evaluation; the newest hundreds
  evaluatedStep: number; // of the newest evaluation while training
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
  trainerId: string;
  at: "starting" | "training" | "waiting" | "finished";
  rows: number;
  device: string;
  predictedBytes: number | null; // of its process at the peak
  peakBytes: number | null; // once it is done
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
  seeds: number; // different ones
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
  seeds: 1,
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

const maxShown = 400; // evaluations kept a trial: a view shows the newest few

function planned(state: Progress, event: Kind<"sweep_planned">): void {
  const limits = Limits.safeParse(event.experiment);
  state.sweepId = event.plan.sweepId;
  state.name = event.plan.name;
  state.experiment = event.experiment;
  state.inspected = event.inspected;
  state.tasks = event.inspected.tasks.map(({ name }) => name);
  state.warnings = event.inspected.warnings;
  state.maxSteps = limits.success ? limits.data.train.maxSteps : 0;
  state.packCount = event.plan.packs.length;
  state.seeds = new Set(event.plan.trials.map(({ seed }) => seed)).size;
  for (const { id, tau, seed } of event.plan.trials)
    if (!state.trials.has(id))
      state.trials.set(id, {
        ...{ id, tau, seed, at: "planned", train: null, validation: [], evaluatedStep: -1 },
        ...{ bestStep: null, steps: null, ended: null, failure: null },
      });
}

function setTrials(state: Progress, ids: readonly string[], change: Partial<TrialProgress>): void {
  for (const id of ids) {
    const trial = state.trials.get(id);
    if (trial !== undefined) Object.assign(trial, change);
  }
}

function setPack(state: Progress, runId: string, change: Partial<PackProgress>): void {
  const pack = state.packs.get(runId);
  if (pack !== undefined) Object.assign(pack, change);
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

function leaseGranted(state: Progress, event: Kind<"lease_granted">, at: number): void {
  const { runId, trialIds, attempt, trainerId, resumeStep } = event;
  state.draining = false;
  state.outcome = null; // it goes on
  state.packs.set(runId, {
    ...{ runId, trialIds, attempt, trainerId, step: resumeStep, firstStep: resumeStep },
    number: state.packs.get(runId)?.number ?? state.packs.size + 1,
    ...{ at: "starting", rows: trialIds.length * state.tasks.length, device: "" },
    ...{ startedAt: at, lastAt: at, tokensPerSecond: 0, peakBytes: null },
    predictedBytes: predictedBytes(state, trialIds.length),
    note: attempt > 1 ? `attempt ${attempt}, from step ${resumeStep}` : "loading the model",
  });
  setTrials(state, trialIds, { at: "training" });
}

/** Half of the newest window, so that a person sees a change within a few windows and no flicker. */
const smooth = (before: number, now: number): number => (before === 0 ? now : 0.5 * before + 0.5 * now);

function stepsDone(state: Progress, runId: string, event: Kind<"steps_done">, at: number): void {
  const pack = state.packs.get(runId);
  if (pack === undefined) return;
  const rate = event.seconds > 0 ? event.tokens / event.seconds : 0;
  const tokensPerSecond = smooth(pack.tokensPerSecond, rate);
  Object.assign(pack, { at: "training", step: event.step, lastAt: at, tokensPerSecond, note: "" });
  for (const fit of event.fits) {
    const trial = state.trials.get(fit.trialId);
    if (trial !== undefined) trial.train = fit.natsPerToken;
  }
}

function evaluated(state: Progress, runId: string, event: Kind<"evaluated">, at: number): void {
  setPack(state, runId, { lastAt: at });
  if (event.split !== "validation") return;
  if (event.scored === "base") state.baseValidation = event.natsPerToken;
  const trial = state.trials.get(event.trialId);
  if (trial === undefined || event.scored !== "task") return;
  if (event.step <= trial.evaluatedStep) return; // the best step scored once more, or repeated after a resume
  trial.evaluatedStep = event.step;
  trial.validation.push(event.natsPerToken);
  if (trial.validation.length > maxShown) trial.validation.splice(0, maxShown / 2);
  if (event.best) trial.bestStep = event.step;
}

/** Folds one event into the state, in place, and returns it. An event that a view does not show changes nothing. */
export function advance(state: Progress, { runId, at, event }: SweepEvent): Progress {
  switch (event.kind) {
    case "sweep_planned":
      planned(state, event);
      break;
    case "lease_granted":
      leaseGranted(state, event, at);
      break;
    case "steps_done":
      stepsDone(state, runId, event, at);
      break;
    case "evaluated":
      evaluated(state, runId, event, at);
      break;
    case "checkpoint_saved":
      setPack(state, runId, { lastAt: at });
      state.lastCheckpoint = { step: event.step, at };
      break;
    default:
      advanceRun(state, runId, event, at);
  }
  return state;
}

function advanceRun(state: Progress, runId: string, event: Body, at: number): void {
  switch (event.kind) {
    case "run_started": {
      const { step, rows, device, dtype } = event;
      const running = { step, firstStep: step, rows, device: `${device} ${dtype}`, startedAt: at, lastAt: at };
      setPack(state, runId, { at: "training", note: "", ...running });
      break;
    }
    case "prefix_cache_filled": {
      const part = Math.floor((100 * event.tokens) / event.ofTokens);
      setPack(state, runId, { lastAt: at, note: part < 100 ? `hidden states ${part} %` : "" });
      break;
    }
    case "micro_batch_halved":
      setPack(state, runId, { lastAt: at, note: `out of memory: ${event.rowsPerMicroBatch} rows at once` });
      break;
    case "run_done":
      setPack(state, runId, { at: "finished", note: "finished", peakBytes: event.peakMemoryBytes });
      break;
    case "run_failed":
      runFailed(state, runId, event);
      break;
    case "trial_done": {
      const { steps, bestStep, ended } = event;
      setTrials(state, [event.trialId], { at: "done", steps, bestStep, ended });
      break;
    }
    case "trial_failed":
      setTrials(state, [event.trialId], { at: "failed", failure: event.failure.code });
      break;
    default:
      advanceControl(state, event);
  }
}

function runFailed(state: Progress, runId: string, event: Kind<"run_failed">): void {
  setPack(state, runId, { at: "waiting", note: event.drained ? "stopped" : event.failure.code });
  const trials = (state.packs.get(runId)?.trialIds ?? []).filter((id) => state.trials.get(id)?.at === "training");
  if (event.drained) setTrials(state, trials, { at: "stopped" });
}

function advanceControl(state: Progress, event: Body): void {
  switch (event.kind) {
    case "attempt_failed":
      setPack(state, event.runId, { at: "waiting", note: `attempt ${event.attempt}: ${event.code}` });
      break;
    case "lease_expired":
      setPack(state, event.runId, { at: "waiting", note: "the lease ran out" });
      break;
    case "trial_adopted":
      setTrials(state, [event.trialId], { at: "adopted" });
      break;
    case "trials_failed":
      setTrials(state, event.trialIds, { at: "failed", failure: event.code });
      break;
    case "metrics_missing":
      setTrials(state, event.trialIds, { at: "failed", failure: "metrics_missing" });
      break;
    case "results_lost":
      if (event.trialId !== null) setTrials(state, [event.trialId], { at: "failed", failure: "metrics_missing" });
      break;
    case "trials_requeued":
      setTrials(state, event.trialIds, { at: "planned", failure: null });
      state.outcome = null;
      break;
    case "trials_cancelled":
      setTrials(state, event.trialIds, { at: "cancelled" });
      break;
    case "paused":
      state.paused = `${event.code}: ${event.reason}`;
      break;
    case "resumed":
      state.paused = null;
      break;
    case "drain_requested":
      state.draining = true;
      break;
    case "sweep_ended":
      state.outcome = event.outcome;
      state.draining = false;
      break;
    default: // nothing to show
  }
}

/** Milliseconds until every trial of the pack has reached maxSteps: at most so long, since validation ends most earlier. */
export function timeLeft(state: Progress, pack: PackProgress): number | null {
  const done = pack.step - pack.firstStep;
  if (pack.at !== "training" || done < 1) return null;
  return ((pack.lastAt - pack.startedAt) / done) * (state.maxSteps - pack.step);
}
