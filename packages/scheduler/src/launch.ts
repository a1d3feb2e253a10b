import {
  BoraError,
  errorDomains,
  isErrorCode,
  parseExperiment,
  runBase,
  type ControlEvent,
  type ExperimentSpec,
  type wire,
} from "@bora/contracts";
import type { Trainer } from "@bora/trainer-client";
import { Attempt, type HeldLease } from "./attempt.js";
import { isLive } from "./evolve-trainer.js";
import { isEvaluation } from "./plan.js";
import { asFailure, type Loop } from "./loop.js";
import { backoffMs, judge, maxAttempts, openTrials } from "./retry-policy.js";
import type { Failure, RunRecord, SweepState } from "./sweep-state.js";
import type { Seat } from "./trainer-pool.js";

/** Attempts at work in this process, by run. */
export type Attempts = Map<string, Attempt>;

const lookAgainMs = 5_000;

/** A trainer for a run; null, with the sweep paused, when none could be had. No trial pays for that. */
async function findSeat(loop: Loop): Promise<Seat | null> {
  let isSaid = false;
  for (let failures = 1; ; failures += 1) {
    try {
      return await loop.pool.reserve();
    } catch (thrown) {
      if (loop.signal.aborted || !(thrown instanceof BoraError)) throw thrown;
      const waitMs = thrown.code === "busy" ? loop.pool.nextTrialMs() : null;
      if (waitMs !== null) {
        if (!isSaid) loop.notice(waiting(thrown, waitMs));
        isSaid = true;
        await loop.deps.clock.sleep(Math.min(waitMs, lookAgainMs), loop.signal); // another may be free before
        failures = 0;
        continue;
      }
      if (thrown.domain === "user" || thrown.domain === "controller" || failures === maxAttempts) {
        await loop.record(({ phase }) =>
          phase.at === "running" ? [{ kind: "paused", code: thrown.code, reason: thrown.message }] : [],
        );
        return null;
      }
      loop.notice(thrown);
      await loop.deps.clock.sleep(backoffMs(failures), loop.signal);
    }
  }
}

const waiting = ({ code, message }: BoraError, waitMs: number) => ({
  ...{ code, message: `${message}, or failed and are not tried again for ${Math.ceil(waitMs / 60_000)} min` },
  hint: "the sweep goes on with what works; look at the machines whose trainers failed, or list more",
});

/** Stores what is left of earlier attempts' events, where this trainer can read them (it shares their run folder). */
async function readTail(loop: Loop, trainer: Trainer, run: RunRecord): Promise<void> {
  try {
    for await (const event of trainer.events(run.runId, run.lastSeq, loop.signal)) await loop.deliver(event);
  } catch (thrown) {
    if (loop.signal.aborted || !(thrown instanceof BoraError)) throw thrown; // unknown here: resume from what is stored
  }
}

function grant(
  state: SweepState,
  lease: { runId: string; trialIds: readonly string[]; trainerId: string; leaseMs: number },
): ControlEvent[] {
  const run = state.runs[lease.runId];
  const { runId, trainerId, leaseMs } = lease;
  const open = lease.trialIds.filter((id) => state.trials[id]?.state.at === "queued");
  if (state.phase.at !== "running" || (run !== undefined && run.phase.at !== "waiting")) return [];
  if (run === undefined && open.length === 0) return [];
  if (run !== undefined && openTrials(state, run).length === 0 && state.base?.runId !== runId) return [];
  return [
    {
      kind: "lease_granted",
      runId,
      attempt: (run?.attempt ?? 0) + 1,
      trainerId,
      trialIds: run === undefined ? open : [...run.trialIds],
      leaseMs,
      firstSeq: (run?.lastSeq ?? 0) + 1,
      resumeStep: run?.checkpointStep ?? 0,
    },
  ];
}

/** What a trainer is told to train: the same at every attempt, but for the execution that the first one chose. */
export function runSpec(state: SweepState, run: RunRecord): wire.RunSpec {
  const fits = run.trialIds.flatMap((id) => {
    const trial = state.trials[id];
    return trial === undefined ? [] : [{ trialId: id, tau: trial.tau, seed: trial.seed }];
  });
  const experiment = parseExperiment(state.experiment);
  return {
    runId: run.runId,
    ...runBase(experiment, state.inspected),
    ...(experiment.evaluate.adapters !== undefined && { evaluate: evaluated(experiment, state, run) }),
    fits,
    evaluateBase: state.base?.runId === run.runId && !isEvaluation(experiment),
    execution: run.execution ?? undefined,
  };
}

/** The adapters of a run's trials: trial i of the plan scores adapter i of the experiment. */
function evaluated(experiment: ExperimentSpec, state: SweepState, run: RunRecord): wire.EvaluateSpec {
  const adapters = runBase(experiment, state.inspected).evaluate?.adapters ?? [];
  const place = new Map(state.plan?.trials.map(({ id }, index) => [id, index]));
  return { adapters: run.trialIds.flatMap((id) => adapters[place.get(id) ?? -1] ?? []) };
}

async function start(loop: Loop, trainer: Trainer, lease: HeldLease): Promise<Failure | null> {
  const run = loop.state().runs[lease.runId];
  if (run === undefined) return null;
  const { attempt, leaseMs } = lease;
  const spec = runSpec(loop.state(), run);
  try {
    await trainer.start(
      { spec, attempt, firstSeq: run.lastSeq + 1, leaseMs, resumeStep: run.checkpointStep },
      loop.signal,
    );
    return null;
  } catch (thrown) {
    if (loop.signal.aborted || !(thrown instanceof BoraError)) throw thrown;
    return asFailure(thrown);
  }
}

/** Codes after which a trainer is not used again: it goes, with its process group. */
const endsTrainer = new Set(["trainer_lost", "lease_expired", "device_error", "stopping", "unauthenticated"]);

/** Begins an attempt at a run (new when `runId` is null) and follows it to its end. */
export async function launch(
  loop: Loop,
  attempts: Attempts,
  command: { runId: string | null; trialIds: readonly string[] },
): Promise<void> {
  const seat = await findSeat(loop);
  if (seat === null) return;
  const { trainer, trainerId } = seat;
  const earlier = command.runId === null ? undefined : loop.state().runs[command.runId];
  if (earlier !== undefined) await readTail(loop, trainer, earlier);
  const { leaseMs } = loop.deps;
  const lease = { runId: command.runId ?? loop.deps.newRunId(), trialIds: command.trialIds, trainerId, leaseMs };
  const granted = await loop.record((state) => grant(state, lease));
  const attempt = loop.state().runs[lease.runId]?.attempt;
  if (!granted || attempt === undefined) return loop.pool.free(trainerId);
  const held: HeldLease = { runId: lease.runId, attempt, trainerId, leaseMs };
  const failure = await start(loop, trainer, held);
  await (failure === null ? supervise(loop, attempts, trainer, held) : afterwards(loop, held, failure, failure.code));
}

/** Follows an attempt that a trainer holds; also one that an earlier controller began. */
export async function supervise(loop: Loop, attempts: Attempts, trainer: Trainer, held: HeldLease): Promise<void> {
  const attempt = new Attempt(loop, trainer, held);
  attempts.set(held.runId, attempt);
  try {
    const failure = await attempt.untilOver();
    await afterwards(loop, held, failure, failure?.code ?? attempt.endedBy);
  } finally {
    attempts.delete(held.runId);
  }
}

/** Stores what follows from a lost attempt; the trainer is free for the next one, or gone (its breaker: two in a row). */
async function afterwards(loop: Loop, held: HeldLease, failure: Failure | null, endedBy: string | null): Promise<void> {
  const { runId, trainerId, attempt } = held;
  const machineFailed = endedBy !== null && isErrorCode(endedBy) && errorDomains[endedBy] === "infra";
  const tooOften = loop.pool.count(trainerId, machineFailed);
  if (tooOften || endedBy === "device_error") await loop.pool.setAside(trainerId);
  else if (endedBy !== null && endsTrainer.has(endedBy)) await loop.pool.discard(trainerId);
  else loop.pool.free(trainerId);
  if (failure === null) return;
  await loop.record((state, nowMs) => {
    const run = state.runs[runId];
    if (run === undefined || run.attempt !== attempt || !isLive(run)) return [];
    const expired: ControlEvent[] = failure.code === "lease_expired" ? [{ kind: "lease_expired", runId, attempt }] : [];
    return [...expired, ...judge(state, run, failure, nowMs)];
  });
}
