import type { ControlEvent, Pack } from "@bora/contracts";
import { isOpen } from "./evolve-control.js";
import { isLive } from "./evolve-trainer.js";
import { breakerReason, isDue, judge, openTrials } from "./retry-policy.js";
import type { RunRecord, SweepOutcome, SweepState, TrialRecord } from "./sweep-state.js";

/** What the loop does next. All of them may be repeated: each names what it is about. */
export type Command =
  | { do: "record"; events: ControlEvent[] }
  | { do: "launch"; key: string; runId: string | null; trialIds: readonly string[] } // null: a new run
  | { do: "stop"; key: string; runId: string; attempt: number; mode: "drain" | "kill" }
  | { do: "fetch"; key: string; trialId: string | null; runId: string } // null: the base model's
  | { do: "wait for room"; key: string };

export interface DecisionLimits {
  maxTrainers: number; // at work at once
}

type Rule = (state: SweepState, nowMs: number) => ControlEvent[];

/** The controller's own decisions, in order: the first that has something to say is stored before anything else is done. */
const decisions: Rule[] = [
  (state) => ofPhase(state, ["running"], () => queuePlanned(state)),
  (state, nowMs) => judgeBroken(state, nowMs),
  (state) => runs(state).flatMap((run) => missingMetrics(state, run)),
  (state) => ofPhase(state, ["running"], () => tripBreaker(state)),
  (state) => ofPhase(state, ["cancelling"], () => cancelOpen(state)),
  (state) => endSweep(state),
];

/** The table: what a state calls for at a time (wall clock). Pure. */
export function decide(state: SweepState, nowMs: number, limits: DecisionLimits): Command[] {
  if (state.plan === null || state.phase.at === "ended") return [];
  for (const rule of decisions) {
    const events = rule(state, nowMs);
    if (events.length > 0) return [{ do: "record", events }];
  }
  const waiting: Command[] = waitsForRoom(state) ? [{ do: "wait for room", key: "wait for room" }] : [];
  return [
    ...[...stops(state), ...waiting],
    ...(stoppedBySelf(state) ? [] : unfetched(state)),
    ...launches(state, nowMs, limits),
  ];
}

/** Paused by a fault or a breaker, not by a person: nothing new is begun, and the sweep ends when its runs have. */
const stoppedBySelf = ({ phase }: SweepState): boolean => phase.at === "paused" && phase.code !== "user";

/** A full disk is the one fault that mends itself, or somebody in the morning: the sweep stays and looks again. */
const waitsForRoom = ({ phase }: SweepState): boolean => phase.at === "paused" && phase.code === "disk_full";

/** When the passing of time alone will call for something; Infinity when it never will. */
export function nextWakeMs(state: SweepState, nowMs: number): number {
  const waiting = runs(state).filter((run) => goesOn(state, run));
  const times = waiting.map(({ phase }) => (phase.at === "waiting" ? phase.retryAtMs : Infinity));
  return Math.min(Infinity, ...times.filter((time) => !isDue(time, nowMs)));
}

const runs = (state: SweepState): RunRecord[] => Object.values(state.runs);
const trials = (state: SweepState): TrialRecord[] => Object.values(state.trials);

const ofPhase = <T>(state: SweepState, phases: SweepState["phase"]["at"][], then: () => T[]): T[] =>
  phases.includes(state.phase.at) ? then() : [];

function queuePlanned(state: SweepState): ControlEvent[] {
  const trialIds = trials(state).flatMap((trial) => (trial.state.at === "planned" ? [trial.id] : []));
  return trialIds.length === 0 ? [] : [{ kind: "trials_queued", trialIds }];
}

function judgeBroken(state: SweepState, nowMs: number): ControlEvent[] {
  for (const run of runs(state)) if (run.phase.at === "broken") return judge(state, run, run.phase.failure, nowMs);
  return [];
}

/** A run that is done has its whole log stored (its last event is the last): who has no objective now never will. */
function missingMetrics(state: SweepState, run: RunRecord): ControlEvent[] {
  if (run.phase.at !== "done") return [];
  const trialIds = openTrials(state, run);
  return trialIds.length === 0 ? [] : [{ kind: "metrics_missing", trialIds, runId: run.runId, lastSeq: run.lastSeq }];
}

function tripBreaker(state: SweepState): ControlEvent[] {
  const reason = breakerReason(state.breaker);
  const more = trials(state).some((trial) => trial.state.at === "queued");
  return reason !== null && more ? [{ kind: "paused", code: "breaker", reason }] : [];
}

function cancelOpen(state: SweepState): ControlEvent[] {
  if (runs(state).some(isLive)) return []; // the process group is gone first
  const trialIds = trials(state).flatMap((trial) => (isOpen(trial) ? [trial.id] : []));
  return trialIds.length === 0 ? [] : [{ kind: "trials_cancelled", trialIds }];
}

/** Whether a waiting run has something left to give: a trial, or the base model's nats. */
const goesOn = (state: SweepState, run: RunRecord): boolean =>
  run.phase.at === "waiting" &&
  (openTrials(state, run).length > 0 || (state.base?.runId === run.runId && !state.base.fetched));

function endSweep(state: SweepState): ControlEvent[] {
  const { phase } = state;
  if (runs(state).some(isLive) || (phase.at === "paused" && phase.code === "user") || waitsForRoom(state)) return [];
  const missing = unfetched(state).length > 0;
  if (missing && !stoppedBySelf(state)) return [];
  const unfinished = missing || trials(state).some(isOpen) || runs(state).some((run) => goesOn(state, run));
  if (phase.at === "running" && unfinished) return [];
  return [{ kind: "sweep_ended", outcome: outcomeOf(state, unfinished) }];
}

function outcomeOf(state: SweepState, unfinished: boolean): SweepOutcome {
  const at = new Set(trials(state).map((trial) => trial.state.at));
  if (at.has("cancelled")) return "cancelled";
  if (unfinished && state.phase.at === "paused") return "stopped";
  const stopped = trials(state).some(({ state: { ...trial } }) => trial.at === "stopped" && trial.by === "user");
  if (unfinished || stopped) return "interrupted";
  return at.has("failed") || at.has("metrics_missing") ? "failed" : "done";
}

function stops(state: SweepState): Command[] {
  const { phase } = state;
  if (phase.at !== "draining" && phase.at !== "cancelling") return [];
  const mode = phase.at === "draining" ? "drain" : "kill";
  return runs(state)
    .filter(isLive)
    .map(({ runId, attempt }) => ({ do: "stop", key: `${mode} ${runId} ${attempt}`, runId, attempt, mode }));
}

/** Result files that this sweep's folder does not have yet. */
function unfetched(state: SweepState): Command[] {
  const results = trials(state).flatMap<Command>(({ id, state: { ...at }, runId, fetched }) =>
    at.at === "done" && !fetched && runId !== null ? [{ do: "fetch", key: `fetch ${id}`, trialId: id, runId }] : [],
  );
  const { base } = state;
  return base?.manifest != null && !base.fetched
    ? [...results, { do: "fetch", key: "fetch base", trialId: null, runId: base.runId }]
    : results;
}

/** Runs that can go on first, then packs that have not been in a run, as far as trainers are free. */
function launches(state: SweepState, nowMs: number, { maxTrainers }: DecisionLimits): Command[] {
  if (state.phase.at !== "running") return [];
  const free = maxTrainers - runs(state).filter(isLive).length;
  const resumed = runs(state)
    .filter((run) => goesOn(state, run) && run.phase.at === "waiting" && isDue(run.phase.retryAtMs, nowMs))
    .map<Command>(({ runId, trialIds }) => ({ do: "launch", key: runId, runId, trialIds }));
  const fresh = freshPacks(state).map<Command>(({ id, trialIds }) => ({
    do: "launch",
    key: `${id} ${trialIds.join(" ")}`,
    runId: null,
    trialIds,
  }));
  return [...resumed, ...fresh].slice(0, Math.max(0, free));
}

/** What of each pack waits for a first run, and packs of what is in none: the plan took it for finished, and it is not. */
function freshPacks({ packs, trials: all }: SweepState): Pack[] {
  const waits = (id: string) => all[id]?.state.at === "queued" && all[id].runId === null;
  const left = packs.map(({ id, trialIds }) => ({ id, trialIds: trialIds.filter(waits) }));
  const packed = new Set(packs.flatMap(({ trialIds }) => trialIds));
  const stray = Object.keys(all).filter((id) => waits(id) && !packed.has(id));
  const single = stray.map((id) => ({ id: `pack-of-${id}`, trialIds: [id] }));
  return [...left, ...single].filter(({ trialIds }) => trialIds.length > 0);
}
