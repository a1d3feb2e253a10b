import { formatBytes, formatTau } from "@bora/contracts";
import type { SweepEvent } from "../sweep-event.js";
import { timeLeft, type PackProgress, type Progress } from "./state.js";
import { duration, many, nats, perplexity, short } from "./words.js";

type Body = SweepEvent["event"];
type Kind<K extends Body["kind"]> = Extract<Body, { kind: K }>;

const tauOf = (state: Progress, trialId: string): string => {
  const trial = state.trials.get(trialId);
  if (trial === undefined) return trialId;
  return `tau ${formatTau(trial.tau)}${state.seeds > 1 ? ` seed ${trial.seed}` : ""}`;
};

function stepsLine(state: Progress, pack: PackProgress, event: Kind<"steps_done">): string {
  const left = timeLeft(state, pack);
  const train = event.fits.map(({ trialId, natsPerToken }) => {
    const tau = state.trials.get(trialId)?.tau;
    return `${tau === undefined ? trialId : formatTau(tau)}: ${nats(natsPerToken)}`;
  });
  const rate = `${short(pack.tokensPerSecond)} tok/s`;
  const eta = left === null ? "" : `, ETA <= ${duration(left)}`;
  return `pack ${pack.number} step ${event.step}/${state.maxSteps}, ${rate}${eta}, train nats/token ${train.join(", ")}`;
}

function evaluatedLine(state: Progress, event: Kind<"evaluated">): string | null {
  if (event.scored === "prior-mean" || event.split !== "validation") return null; // test is looked at once, at the end
  const who = event.scored === "base" ? "base model" : tauOf(state, event.trialId);
  const at = event.scored === "base" ? "" : ` step ${event.step}`;
  const value = `${nats(event.natsPerToken)} nats/token, perplexity ${perplexity(event.natsPerToken)}`;
  const all = event.complete ? " on all documents" : "";
  return `${who}${at} validation${all} ${value}${event.best && !event.complete ? ", best so far" : ""}`;
}

function startedLine(state: Progress, runId: string, event: Kind<"run_started">): string {
  const pack = state.packs.get(runId);
  const from = event.step > 0 ? `, going on from step ${event.step}` : "";
  const how = `${event.device}, ${event.dtype} (${event.dtypeReason}), ${event.threads} threads`;
  const states = event.prefixCache === "" ? "" : `; ${event.prefixCache}`;
  return `pack ${pack?.number ?? "?"} trains ${event.rows} rows on ${how}${from}${states}`;
}

function trialDoneLine(state: Progress, event: Kind<"trial_done">): string {
  const why = event.ended === "validation" ? "its validation stopped improving" : "it reached the step limit";
  return `${tauOf(state, event.trialId)} done after ${event.steps} steps: ${why}; best step ${event.bestStep}`;
}

function halvedLine(state: Progress, runId: string, event: Kind<"micro_batch_halved">): string {
  const now = `${many(event.rowsPerMicroBatch, "row")} a micro-batch, ${event.evaluationTokens} tokens an evaluation's`;
  return `pack ${state.packs.get(runId)?.number ?? "?"} was out of memory at step ${event.step} and goes on with ${now}`;
}

function failureLine({ failure }: { failure: { code: string; message: string; hint: string } }): string {
  return `error ${failure.code}: ${failure.message}${failure.hint === "" ? "" : ` (${failure.hint})`}`;
}

/** An event in one line for a log, or null when it says nothing to a person. `state` has the event folded in. */
export function eventLine(state: Progress, { runId, event }: SweepEvent): string | null {
  switch (event.kind) {
    case "steps_done": {
      const pack = state.packs.get(runId);
      return pack === undefined ? null : stepsLine(state, pack, event);
    }
    case "evaluated":
      return evaluatedLine(state, event);
    case "run_started":
      return startedLine(state, runId, event);
    case "prefix_cache_filled": {
      const done = `${short(event.tokens)} of ${short(event.ofTokens)} tokens`;
      return `pack ${state.packs.get(runId)?.number ?? "?"} hidden states: ${done} in ${duration(event.seconds * 1000)}`;
    }
    case "checkpoint_saved":
      return `checkpoint at step ${event.step}`;
    case "trial_done":
      return trialDoneLine(state, event);
    case "trial_failed":
      return `${tauOf(state, event.trialId)} failed at step ${event.step}: ${failureLine(event)}`;
    case "run_done": {
      const peak = `peak memory ${formatBytes(event.peakMemoryBytes)}`;
      const predicted = state.packs.get(runId)?.predictedBytes ?? null;
      const planned = predicted === null ? "" : ` (planned ${formatBytes(predicted)})`;
      return `run done in ${duration(event.seconds * 1000)}, ${peak}${planned}`;
    }
    case "micro_batch_halved":
      return halvedLine(state, runId, event);
    case "run_failed":
      return event.drained ? "stopped after a checkpoint" : failureLine(event);
    default:
      return controlLine(state, event);
  }
}

type TrainerKind =
  | "steps_done"
  | "evaluated"
  | "run_started"
  | "prefix_cache_filled"
  | "checkpoint_saved"
  | "trial_done"
  | "trial_failed"
  | "run_done"
  | "micro_batch_halved"
  | "run_failed";

function controlLine(state: Progress, event: Exclude<Body, { kind: TrainerKind }>): string | null {
  switch (event.kind) {
    case "sweep_planned":
      return `sweep ${event.plan.sweepId}: ${many(event.plan.trials.length, "trial")} in ${many(event.plan.packs.length, "pack")}`;
    case "trial_adopted":
      return `${tauOf(state, event.trialId)} was trained by sweep ${event.fromSweepId}`;
    case "lease_granted":
      return `pack ${state.packs.get(event.runId)?.number ?? "?"}: attempt ${event.attempt} starts on ${event.trainerId}${event.resumeStep > 0 ? ` from step ${event.resumeStep}` : ""}`;
    case "lease_expired":
      return `attempt ${event.attempt} of run ${event.runId}: the lease ran out`;
    case "attempt_failed":
      return `attempt ${event.attempt} failed: ${failureLine({ failure: event })}`;
    case "pack_split":
      return `pack split into ${event.packs.length}`;
    case "trials_failed":
      return `${event.trialIds.map((id) => tauOf(state, id)).join(", ")} failed: ${failureLine({ failure: event })}`;
    case "metrics_missing":
      return `${event.trialIds.map((id) => tauOf(state, id)).join(", ")}: the run ended without a result`;
    case "results_lost":
      return `the files of ${event.trialId === null ? "the base model" : tauOf(state, event.trialId)} are lost: ${failureLine({ failure: event })}`;
    case "trials_requeued":
      return `${many(event.trialIds.length, "trial")} queued again (${event.reason})`;
    case "paused":
      return `paused: ${event.code}: ${event.reason}`;
    case "resumed":
      return "resumed";
    case "drain_requested":
      return "stopping: a checkpoint is being written; the same command goes on from it";
    case "cancel_requested":
      return "cancelling";
    case "trials_cancelled":
      return `${many(event.trialIds.length, "trial")} cancelled`;
    case "sweep_ended":
      return `sweep ${event.outcome}`;
    case "trials_queued":
    case "artifacts_fetched":
      return null;
    default:
      return event satisfies never;
  }
}
