import type { ControlEvent } from "@bora/contracts";
import { noCurve } from "./learning-curve.js";
import { countEnded, withRun, withTrials } from "./state-edits.js";
import { byId, emptySweep, type RunRecord, type SweepState, type TrialRecord } from "./sweep-state.js";

type Of<Kind extends ControlEvent["kind"]> = Extract<ControlEvent, { kind: Kind }>;

/** A decision of the controller, applied. */
export function applyControlEvent(state: SweepState, event: ControlEvent, recordedAtMs: number): SweepState {
  switch (event.kind) {
    case "sweep_planned":
      return planned(state, event, recordedAtMs);
    case "trial_adopted":
      return adopted(state, event);
    case "trials_queued":
      return withTrials(state, event.trialIds, (trial) => (trial.state.at === "planned" ? queued(trial) : trial));
    case "lease_granted":
      return leaseGranted(state, event);
    case "lease_expired":
      return attemptOver(state, event, 0);
    case "attempt_failed":
      return attemptFailed(state, event);
    case "pack_split":
      return packSplit(state, event);
    case "trials_failed":
      return trialsFailed(state, event);
    case "metrics_missing":
      return metricsMissing(state, event);
    case "trials_requeued":
      return requeued(state, event);
    case "trials_cancelled":
      return withTrials(state, event.trialIds, (trial) =>
        isOpen(trial) ? { ...trial, state: { at: "cancelled" } } : trial,
      );
    case "artifacts_fetched":
      return fetched(state, event);
    case "results_lost":
      return resultsLost(state, event);
    default:
      return applyPhase(state, event);
  }
}

function applyPhase(
  state: SweepState,
  event: Of<"paused" | "resumed" | "drain_requested" | "cancel_requested" | "sweep_ended">,
): SweepState {
  switch (event.kind) {
    case "paused":
      return { ...state, phase: { at: "paused", code: event.code, reason: event.reason }, pausedBy: event };
    case "resumed":
      return { ...state, phase: { at: "running" }, pausedBy: null, breaker: emptySweep(state.sweepId).breaker };
    case "drain_requested":
      return { ...state, phase: { at: "draining" } };
    case "cancel_requested":
      return { ...state, phase: { at: "cancelling" } };
    case "sweep_ended":
      return { ...state, phase: { at: "ended", outcome: event.outcome } };
    default:
      return event satisfies never;
  }
}

/** Whether a trial's result is still to come. */
export const isOpen = ({ state }: TrialRecord): boolean =>
  state.at === "planned" || state.at === "queued" || state.at === "running";

const queued = (trial: TrialRecord): TrialRecord => ({ ...trial, state: { at: "queued", attempts: trial.attempts } });

const newTrial = ({ id, tau, seed }: { id: string; tau: number; seed: number }): TrialRecord => ({
  id,
  tau,
  seed,
  state: { at: "planned" },
  attempts: 0,
  runId: null,
  outcome: null,
  manifest: null,
  failure: null,
  validation: noCurve,
  taskBest: [],
  adoptedFrom: null,
  fetched: false,
});

function planned(state: SweepState, { plan, experiment, inspected }: Of<"sweep_planned">, atMs: number): SweepState {
  const trials = byId(Object.fromEntries(plan.trials.map((trial) => [trial.id, newTrial(trial)])));
  return { ...state, plan, experiment, inspected, plannedAtMs: atMs, packs: plan.packs, trials };
}

function adopted(state: SweepState, { trialId, fromSweepId, runId, outcome }: Of<"trial_adopted">): SweepState {
  return withTrials(state, [trialId], (trial) =>
    isOpen(trial)
      ? {
          ...trial,
          state: { at: "done", runId, nllPerToken: outcome.nllPerToken },
          runId,
          outcome,
          adoptedFrom: fromSweepId,
        }
      : trial,
  );
}

function leaseGranted(state: SweepState, event: Of<"lease_granted">): SweepState {
  const { runId, attempt, trainerId, trialIds, leaseMs, resumeStep } = event;
  const before = state.runs[runId];
  const run: RunRecord = {
    runId,
    trialIds,
    phase: { at: "leased" },
    attempt,
    failures: before?.failures ?? 0,
    trainerId,
    leaseMs,
    lastSeq: before?.lastSeq ?? 0,
    step: resumeStep,
    checkpointStep: resumeStep,
    execution: before?.execution ?? null,
    versions: before?.versions ?? {},
    rows: before?.rows ?? 0,
    tokensPerSecond: before?.tokensPerSecond ?? 0,
    fits: [],
    stepsPerEpoch: before?.stepsPerEpoch ?? 0,
  };
  const next = withTrials(withRun(state, run), trialIds, (trial) =>
    trial.state.at === "queued" ? { ...trial, runId } : trial,
  );
  return { ...next, base: state.base ?? { runId, manifest: null, fetched: false } };
}

/** Ends a run's present attempt: what it trained goes back to the queue. */
function attemptOver(
  state: SweepState,
  { runId, attempt }: { runId: string; attempt: number },
  retryAtMs: number,
): SweepState {
  const run = state.runs[runId];
  if (run === undefined || run.attempt !== attempt || run.phase.at === "done" || run.phase.at === "closed")
    return state;
  const next = withRun(state, { ...run, phase: { at: "waiting", retryAtMs } });
  return withTrials(next, run.trialIds, (trial) =>
    trial.runId === runId && trial.state.at === "running" ? queued(trial) : trial,
  );
}

/** A run that never goes on; when it was to score the base model, another will. */
function close(state: SweepState, run: RunRecord): SweepState {
  const base = state.base?.runId === run.runId && state.base.manifest === null ? null : state.base;
  return { ...withRun(state, { ...run, phase: { at: "closed" } }), base };
}

const losesCheckpoint = new Set(["checkpoint_missing", "checkpoint_corrupt"]);

function attemptFailed(state: SweepState, event: Of<"attempt_failed">): SweepState {
  const over = attemptOver(state, event, event.retryAtMs ?? 0);
  const run = over.runs[event.runId];
  if (over === state || run === undefined) return state;
  const after: RunRecord = {
    ...run,
    failures: run.failures + (event.domain === "infra" ? 1 : 0),
    checkpointStep: losesCheckpoint.has(event.code) ? 0 : run.checkpointStep, // from the start then
  };
  const next = withTrials(withRun(over, after), run.trialIds, (trial) =>
    trial.runId === run.runId && isOpen(trial) && event.domain === "infra"
      ? queued({ ...trial, attempts: trial.attempts + 1 })
      : trial,
  );
  return event.retryAtMs === null ? close(next, after) : next;
}

function packSplit(state: SweepState, { runId, packs }: Of<"pack_split">): SweepState {
  const run = state.runs[runId];
  if (run === undefined) return state;
  const moved = packs.flatMap((pack) => pack.trialIds);
  const kept = state.packs.map((pack) => ({ ...pack, trialIds: pack.trialIds.filter((id) => !moved.includes(id)) }));
  const next = withTrials(close(state, run), moved, (trial) => queued({ ...trial, runId: null }));
  return { ...next, packs: [...kept.filter((pack) => pack.trialIds.length > 0), ...packs] };
}

function trialsFailed(state: SweepState, event: Of<"trials_failed">): SweepState {
  const { code, domain, message, hint, trialIds } = event;
  const failing = trialIds.filter((id) => state.trials[id] !== undefined && isOpen(state.trials[id]));
  const next = withTrials(state, failing, (trial) => ({
    ...trial,
    state: { at: "failed", code, domain, attempts: trial.attempts + (domain === "infra" ? 0 : 1) },
    failure: { code, domain, message, hint },
  }));
  return countEnded(
    next,
    failing.map(() => code),
  );
}

function metricsMissing(state: SweepState, { trialIds, runId, lastSeq }: Of<"metrics_missing">): SweepState {
  const missing = trialIds.filter((id) => state.trials[id] !== undefined && isOpen(state.trials[id]));
  const next = withTrials(state, missing, (trial) => ({ ...trial, state: { at: "metrics_missing", runId, lastSeq } }));
  return countEnded(
    next,
    missing.map(() => "metrics_missing"),
  );
}

/** Back to the queue: into its run while that can still go on from a checkpoint, else into a new one. */
function requeued(state: SweepState, { trialIds }: Of<"trials_requeued">): SweepState {
  return trialIds.reduce((before, id) => {
    const trial = before.trials[id];
    if (trial === undefined || isOpen(trial) || trial.state.at === "done") return before;
    const run = trial.runId === null ? undefined : before.runs[trial.runId];
    const lost = trial.state.at === "failed" && trial.state.domain === "infra";
    const stays = run !== undefined && (run.phase.at === "waiting" || (lost && run.phase.at === "closed"));
    const resumable = stays && (lost || trial.state.at === "stopped" || trial.state.at === "cancelled");
    const next = withTrials(before, [id], () =>
      queued({
        ...trial,
        attempts: 0,
        failure: null,
        ...(resumable ? {} : { runId: null, validation: noCurve, taskBest: [] }),
      }),
    );
    return resumable && run.phase.at === "closed"
      ? withRun(next, { ...run, failures: 0, phase: { at: "waiting", retryAtMs: 0 } })
      : next;
  }, state);
}

function fetched(state: SweepState, { trialId, runId }: Of<"artifacts_fetched">): SweepState {
  if (trialId !== null) return withTrials(state, [trialId], (trial) => ({ ...trial, fetched: true }));
  const manifest = state.base?.runId === runId ? state.base.manifest : null;
  return { ...state, base: { runId, manifest, fetched: true } };
}

/** Done needs the numbers and their files: a trial whose files nobody has is one without a result, for `retry --missing`. */
function resultsLost(state: SweepState, { trialId, runId, kind: _, ...failure }: Of<"results_lost">): SweepState {
  if (trialId === null) return state.base?.runId === runId ? { ...state, base: null } : state;
  const trial = state.trials[trialId];
  if (trial?.state.at !== "done" || trial.runId !== runId) return state;
  const lastSeq = state.runs[runId]?.lastSeq ?? 0;
  const missing: TrialRecord = {
    ...trial,
    ...{ state: { at: "metrics_missing", runId, lastSeq }, outcome: null, manifest: null, adoptedFrom: null, failure },
    fetched: false,
  };
  return countEnded(
    withTrials(state, [trialId], () => missing),
    ["metrics_missing"],
  );
}
