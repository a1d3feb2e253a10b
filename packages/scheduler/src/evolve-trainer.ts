import { isErrorCode, wire, type ErrorDomain, type TrialOutcome } from "@bora/contracts";
import { lowest, withPoint } from "./learning-curve.js";
import { countEnded, withRun, withTrials } from "./state-edits.js";
import type { Failure, ResultManifest, RunRecord, SweepState, TrialRecord } from "./sweep-state.js";

/** Whether an attempt of this run may be at work. */
export const isLive = ({ phase }: RunRecord): boolean =>
  phase.at === "leased" || phase.at === "training" || phase.at === "broken";

/** What a trainer said about a run; `run` already counts the event in `lastSeq`. */
export function applyTrainerEvent(state: SweepState, run: RunRecord, event: wire.Event): SweepState {
  const { body, trialId, attempt } = event;
  switch (body?.$case) {
    case undefined:
      return withRun(state, run); // of a newer trainer: counted, not understood
    case "runStarted":
      return runStarted(state, run, attempt, body.runStarted);
    case "stepsDone":
      return stepsDone(state, run, body.stepsDone);
    case "evaluated":
      return evaluated(withRun(state, run), run, trialId, body.evaluated);
    case "prefixCacheFilled":
      return withRun(state, run); // progress for a person: nothing is decided by it
    case "checkpointSaved":
      return withRun(state, { ...run, checkpointStep: body.checkpointSaved.step });
    case "trialDone":
      return trialDone(withRun(state, run), run, trialId, body.trialDone);
    case "trialFailed":
      return trialFailed(withRun(state, run), run, trialId, failureOf(body.trialFailed.failure));
    case "runDone":
      return runDone(state, run, body.runDone);
    case "microBatchHalved":
      return microBatchHalved(state, run, body.microBatchHalved);
    case "runFailed":
      return runFailed(state, run, body.runFailed);
    default:
      return body satisfies never;
  }
}

/** The wire's sizes are 64 bits wide; a list of files is never that long. */
export const manifestOf = (listed: wire.Artifact | undefined): ResultManifest | null =>
  listed === undefined ? null : { path: listed.path, size: Number(listed.size), sha256: listed.sha256 };

/** Trials of a run whose result is still open. */
const unsettled = (run: RunRecord, trial: TrialRecord): boolean =>
  trial.runId === run.runId && (trial.state.at === "running" || trial.state.at === "queued");

function runStarted(state: SweepState, run: RunRecord, attempt: number, started: wire.RunStarted): SweepState {
  const next: RunRecord = {
    ...run,
    phase: run.phase.at === "leased" ? { at: "training" } : run.phase,
    execution: run.execution ?? started.execution ?? null,
    versions: started.versions,
    rows: started.rows,
    stepsPerEpoch: started.stepsPerEpoch,
    step: started.step,
  };
  if (next.phase.at !== "training") return withRun(state, next); // read after its lease was over
  return withTrials(withRun(state, next), run.trialIds, (trial) =>
    unsettled(run, trial)
      ? { ...trial, state: { at: "running", runId: run.runId, attempt, step: started.step } }
      : trial,
  );
}

function stepsDone(state: SweepState, run: RunRecord, done: wire.StepsDone): SweepState {
  const tokensPerSecond = done.seconds > 0 ? Number(done.tokens) / done.seconds : run.tokensPerSecond;
  const next = withRun(state, { ...run, step: done.step, tokensPerSecond, fits: done.fits });
  return withTrials(next, run.trialIds, (trial) =>
    trial.state.at === "running" && trial.runId === run.runId
      ? { ...trial, state: { ...trial.state, step: done.step } }
      : trial,
  );
}

/** A later attempt begins with the sizes that fitted. */
function microBatchHalved(state: SweepState, run: RunRecord, halved: wire.MicroBatchHalved): SweepState {
  const { rowsPerMicroBatch, evaluationTokens } = halved;
  const execution = run.execution === null ? null : { ...run.execution, rowsPerMicroBatch, evaluationTokens };
  return withRun(state, { ...run, execution });
}

/** Macro mean over tasks of nats per token; tasks without a scored token do not count. */
function macroNats(tasks: readonly wire.TaskNats[]): number {
  const scored = tasks.filter(({ tokens }) => tokens > 0n);
  return scored.reduce((sum, { nats, tokens }) => sum + nats / Number(tokens), 0) / scored.length;
}

function evaluated(state: SweepState, run: RunRecord, trialId: string, found: wire.Evaluated): SweepState {
  if (found.scored !== wire.Scored.TASK || found.split !== wire.Split.VALIDATION) return state;
  return withTrials(state, [trialId], (trial) => {
    if (trial.runId !== run.runId) return trial;
    const validation = withPoint(trial.validation, found.step, macroNats(found.tasks));
    if (validation === null) return trial;
    return {
      ...trial,
      validation,
      taskBest: lowestByTask(trial.taskBest, found),
    };
  });
}

/** Each task's lowest nats per token so far; of equals the earlier step. */
function lowestByTask(before: TrialRecord["taskBest"], { step, tasks }: wire.Evaluated): TrialRecord["taskBest"] {
  return tasks.map(({ nats, tokens }, index) => {
    const nllPerToken = tokens > 0n ? nats / Number(tokens) : Infinity;
    const known = before[index];
    return known === undefined || nllPerToken < known.nllPerToken ? { step, nllPerToken } : known;
  });
}

function trialDone(state: SweepState, run: RunRecord, trialId: string, done: wire.TrialDone): SweepState {
  const trial = state.trials[trialId];
  const nllPerToken = done.validationNatsPerToken;
  if (trial === undefined || !unsettled(run, trial)) return state;
  if (!Number.isFinite(nllPerToken) || done.manifest === undefined) return state; // done needs the number and the files
  const ended = done.ended === wire.Ended.LIMIT ? "limit" : "validation";
  const float32Check = checkOf(done.float32Check);
  const outcome: TrialOutcome = { steps: done.steps, bestStep: done.bestStep, ended, nllPerToken, float32Check };
  const next = withTrials(state, [trialId], () => ({
    ...trial,
    state: { at: "done", runId: run.runId, nllPerToken },
    outcome,
    manifest: manifestOf(done.manifest),
    failure: null,
  }));
  return countEnded(next, [""]);
}

function checkOf(check: wire.Float32Check | undefined): TrialOutcome["float32Check"] {
  if (check === undefined) return null;
  const { natsPerToken, float32NatsPerToken, largestRelativeDifference } = check;
  return { natsPerToken, float32NatsPerToken, largestRelativeDifference };
}

function trialFailed(state: SweepState, run: RunRecord, trialId: string, failure: Failure): SweepState {
  const trial = state.trials[trialId];
  if (trial === undefined || !unsettled(run, trial)) return state;
  const { code, domain } = failure;
  const next = withTrials(state, [trialId], () => ({
    ...trial,
    state: { at: "failed", code, domain, attempts: trial.attempts + 1 },
    failure,
  }));
  return countEnded(next, [code]);
}

function runDone(state: SweepState, run: RunRecord, done: wire.RunDone): SweepState {
  const next = withRun(state, { ...run, phase: { at: "done" } });
  if (state.base?.runId !== run.runId || state.base.fetched) return next;
  const manifest = manifestOf(done.manifest);
  return { ...next, base: manifest === null ? null : { ...state.base, manifest } };
}

function runFailed(state: SweepState, run: RunRecord, failed: wire.RunFailed): SweepState {
  if (!isLive(run)) return withRun(state, run); // its end was decided before its last event was read
  const failure = failureOf(failed.failure);
  if (!failed.drained && failure.code !== "cancelled")
    return withRun(state, { ...run, phase: { at: "broken", failure } });
  const next = withRun(state, { ...run, phase: { at: "waiting", retryAtMs: 0 } });
  const stop = state.phase.at === "draining" && run.checkpointStep > 0;
  return withTrials(next, run.trialIds, (trial) => (unsettled(run, trial) ? putDown(trial, stop) : trial));
}

/** A trial whose attempt ended on request: stopped where a checkpoint and a metric exist, else back in the queue. */
function putDown(trial: TrialRecord, stop: boolean): TrialRecord {
  const { validation } = trial;
  if (!stop || validation.steps.length === 0) return { ...trial, state: { at: "queued", attempts: trial.attempts } };
  return { ...trial, state: { at: "stopped", by: "user", nllPerToken: lowest(validation) } };
}

const domains: Partial<Record<wire.Domain, ErrorDomain>> = {
  [wire.Domain.USER]: "user",
  [wire.Domain.OOM]: "oom",
  [wire.Domain.INFRA]: "infra",
  [wire.Domain.CONTROLLER]: "controller",
};

function failureOf(failure: wire.Failure | undefined): Failure {
  const { code = "", message = "", hint = "", domain = wire.Domain.UNSPECIFIED } = failure ?? {};
  return {
    code: code === "" ? "internal" : code,
    message: message === "" && !isErrorCode(code) ? "the trainer gave no reason" : message,
    hint,
    domain: domains[domain] ?? "infra",
  };
}
