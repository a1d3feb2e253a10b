import type { SweepResults } from "@bora/contracts";
import type { SweepEvent } from "@bora/sdk";
import { progress } from "@bora/sdk/controller";
import { Curve } from "./curve.js";
import type { EventLine } from "./page-api.js";
import { splitOf } from "./split-of.js";

type Body = SweepEvent["event"];
type Evaluated = Extract<Body, { kind: "evaluated" }>;
type BothSplits = NonNullable<SweepResults["base"]>;

const bucketsInAll = 200_000; // of the curves of one sweep
const mostLines = 2_000;

export interface TrialCurves {
  train: Curve;
  validation: Curve;
}

export interface Failure {
  code: string;
  message: string;
  hint: string;
}

const isOfTraining = (event: Body): boolean =>
  event.kind === "steps_done" || (event.kind === "evaluated" && !event.complete);

/** What was scored on everything held out, once: `validation` and `test` come one after the other. */
type Scored = Partial<BothSplits>;

export const complete = (scored: Scored | undefined): BothSplits | null =>
  scored?.validation && scored.test ? { validation: scored.validation, test: scored.test } : null;

/** Everything that the page shows of a sweep, folded from its events; bounded by trials and tasks, not by events. */
export class SweepIndex {
  readonly progress = progress.noProgress(0);
  readonly curves = new Map<string, TrialCurves>();
  readonly lines: EventLine[] = []; // the newest
  readonly own = new Map<string, Scored>(); // by trial, the task adapters
  readonly priorMean = new Map<string, Scored>(); // by trial, Theta alone
  readonly base: Scored = {};
  cancelling = false;
  failure: Failure | null = null; // the newest
  versions: Readonly<Record<string, string>> = {};
  position = 0;
  /** Counts what a sweep's results may show: training windows and evaluations of some documents they do not. */
  revision = 0;
  plannedAtMs = 0;
  lastAtMs = 0;

  constructor(readonly sweepId: string) {}

  /** One event further; one that came already changes nothing. */
  apply(event: SweepEvent): EventLine | null {
    if (event.position <= this.position || event.sweepId !== this.sweepId) return null;
    this.position = event.position;
    this.lastAtMs = event.at;
    if (!isOfTraining(event.event)) this.revision += 1;
    progress.advance(this.progress, event);
    this.note(event);
    if (event.event.kind === "steps_done") return null;
    const text = progress.eventLine(this.progress, event);
    if (text === null) return null;
    const line = { position: event.position, at: event.at, kind: event.event.kind, text };
    this.lines.push(line);
    if (this.lines.length > mostLines) this.lines.splice(0, mostLines / 4);
    return line;
  }

  private note({ event, at }: SweepEvent): void {
    switch (event.kind) {
      case "sweep_planned":
        if (this.plannedAtMs === 0) this.plannedAtMs = at;
        this.makeCurves();
        break;
      case "run_started":
        this.versions = event.versions;
        break;
      case "steps_done":
        for (const { trialId, natsPerToken } of event.fits)
          this.curves.get(trialId)?.train.add(event.step, natsPerToken);
        break;
      case "evaluated":
        this.evaluated(event);
        break;
      case "cancel_requested":
        this.cancelling = true;
        break;
      case "lease_granted":
      case "sweep_ended":
        this.cancelling = false;
        break;
      case "trials_failed":
      case "attempt_failed":
        this.failure = { code: event.code, message: event.message, hint: event.hint };
        break;
      case "trial_failed":
      case "run_failed":
        this.failure = event.failure;
        break;
      default: // no numbers
    }
  }

  private makeCurves(): void {
    const { trials } = this.progress;
    const capacity = Math.max(64, Math.min(512, Math.floor(bucketsInAll / Math.max(1, trials.size))));
    for (const id of trials.keys())
      if (!this.curves.has(id)) this.curves.set(id, { train: new Curve(capacity), validation: new Curve(capacity) });
  }

  private evaluated(event: Evaluated): void {
    const { scored, split, trialId } = event;
    if (scored === "task" && split === "validation")
      this.curves.get(trialId)?.validation.add(event.step, event.natsPerToken);
    if (split === "train" || !event.complete) return;
    const found = splitOf(event.tasks, this.progress.tasks);
    if (found !== null) scoredOf(this, scored, trialId)[split] = found;
  }
}

function scoredOf(index: SweepIndex, scored: Evaluated["scored"], trialId: string): Scored {
  if (scored === "base") return index.base;
  const all = scored === "task" ? index.own : index.priorMean;
  const before = all.get(trialId) ?? {};
  all.set(trialId, before);
  return before;
}
