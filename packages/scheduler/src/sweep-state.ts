import type { ControlEvent, ErrorDomain, Inspected, Pack, Plan, TrialOutcome, wire } from "@bora/contracts";
import type { LearningCurve } from "./learning-curve.js";

/** Where a trial stands. Only `evolve` moves it. */
export type TrialState =
  | { at: "planned" }
  | { at: "queued"; attempts: number }
  | { at: "running"; runId: string; attempt: number; step: number }
  | { at: "done"; runId: string; nllPerToken: number } // macro validation nats
  | { at: "failed"; code: string; domain: ErrorDomain; attempts: number }
  | { at: "stopped"; by: "user" | "rule"; nllPerToken: number }
  | { at: "cancelled" }
  | { at: "metrics_missing"; runId: string; lastSeq: number };

export interface Failure {
  code: string; // docs/errors.md; a trainer may send one that this side does not know
  domain: ErrorDomain;
  message: string;
  hint: string;
}

/** A trainer's list of result files; plain numbers, so that a state can be written as JSON. */
export interface ResultManifest {
  path: string; // in the run's folder
  size: number; // bytes
  sha256: string;
}

export interface TrialRecord {
  readonly id: string;
  readonly tau: number;
  readonly seed: number;
  readonly state: TrialState;
  readonly attempts: number; // charged: the infra failures that ended a try
  readonly runId: string | null; // the run it belongs to now
  readonly outcome: TrialOutcome | null;
  readonly manifest: ResultManifest | null; // in the folder of the run that finished it
  readonly failure: Failure | null;
  readonly validation: LearningCurve;
  readonly taskBest: readonly { step: number; nllPerToken: number }[]; // of each task, in the data's order: its lowest validation
  readonly adoptedFrom: string | null; // sweep id
  readonly fetched: boolean; // its files are in this sweep's folder
}

/** What became of a run's present attempt. */
export type RunPhase =
  | { at: "leased" } // granted; the trainer has not said that it started
  | { at: "training" }
  | { at: "broken"; failure: Failure } // run_failed is stored, nothing is decided yet
  | { at: "waiting"; retryAtMs: number } // no attempt holds a lease; wall clock
  | { at: "done" } // run_done
  | { at: "closed" }; // split or given up: never leased again

export interface RunRecord {
  readonly runId: string;
  readonly trialIds: readonly string[];
  readonly phase: RunPhase;
  readonly attempt: number; // the last one granted
  readonly failures: number; // of the machine, in a row
  readonly trainerId: string;
  readonly leaseMs: number;
  readonly lastSeq: number; // stored
  readonly step: number;
  readonly checkpointStep: number; // of the last checkpoint_saved, 0 when none
  readonly execution: wire.Execution | null; // what the first attempt chose
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: number;
  readonly tokensPerSecond: number; // scored training tokens, last window
  readonly fits: readonly wire.FitProgress[]; // last window
  readonly stepsPerEpoch: number;
}

/** The base model's own nats, scored once a sweep by one run. */
export interface BaseRecord {
  readonly runId: string;
  readonly manifest: ResultManifest | null; // null until that run is done
  readonly fetched: boolean;
}

export type SweepOutcome = Extract<ControlEvent, { kind: "sweep_ended" }>["outcome"];

export type SweepPhase =
  | { at: "running" }
  | { at: "paused"; code: string; reason: string } // code "user": waits for resume; any other ends the sweep as "stopped"
  | { at: "draining" }
  | { at: "cancelling" }
  | { at: "ended"; outcome: SweepOutcome };

/** Ended trials since the sweep last began or resumed, for the breaker. */
export interface BreakerCount {
  readonly ended: number;
  readonly failed: number;
  readonly failedInRow: number;
  readonly firstCodes: readonly string[]; // of the first three that ended; "" = no failure
}

/** The fold of a sweep's events, never stored apart from them. */
export interface SweepState {
  readonly sweepId: string;
  readonly position: number; // of the last event applied
  readonly controlSeq: number;
  readonly plan: Plan | null;
  readonly experiment: unknown;
  readonly inspected: Inspected | null;
  readonly plannedAtMs: number;
  readonly phase: SweepPhase;
  readonly pausedBy: { code: string; reason: string } | null; // kept after the sweep ended as "stopped"
  readonly packs: readonly Pack[]; // the plan's, as splits changed them
  readonly trials: Readonly<Record<string, TrialRecord>>;
  readonly runs: Readonly<Record<string, RunRecord>>;
  readonly base: BaseRecord | null;
  readonly breaker: BreakerCount;
}

/** Tables laid over each other, without a prototype: an id that a trainer or a damaged log made up ("constructor") is in none. */
export function byId<Row>(...tables: readonly Readonly<Record<string, Row>>[]): Readonly<Record<string, Row>> {
  const together = Object.create(null) as Record<string, Row>;
  return Object.assign(together, ...tables);
}

export const emptySweep = (sweepId: string): SweepState => ({
  sweepId,
  position: 0,
  controlSeq: 0,
  plan: null,
  experiment: null,
  inspected: null,
  plannedAtMs: 0,
  phase: { at: "running" },
  pausedBy: null,
  packs: [],
  trials: byId(),
  runs: byId(),
  base: null,
  breaker: { ended: 0, failed: 0, failedInRow: 0, firstCodes: [] },
});
