import { SweepResults, type DocumentRow, type ExperimentInput } from "@bora/contracts";
import { z } from "zod";
import type { CallOptions } from "./abortable.js";
import type { Preview } from "./preview.js";
import type { Exported, ExportRequest } from "./export/export-request.js";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "./generate-request.js";
import type { LabWork } from "./lab-work.js";
import type { SweepEvent } from "./sweep-event.js";

const Reason = z.object({ code: z.string(), message: z.string(), hint: z.string() });

/** How a sweep ended. @internal */
export const SweepOutcome = z.object({
  sweepId: z.string(),
  outcome: z.enum(["done", "failed", "stopped", "interrupted", "cancelled"]),
  alreadyDone: z.boolean().describe("every trial had ended before this call: nothing was trained"),
  reason: Reason.nullable().describe("why it did not end as done"),
  folder: z.string().describe("where results.json and its neighbours are"),
  results: SweepResults.nullable().describe("null when it was interrupted: they are written when it ends"),
});
/** How a sweep ended, why not as done, where its files are, and what its results say. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- its name, in messages and pages
export interface SweepOutcome extends z.output<typeof SweepOutcome> {}

/** Where a sweep of the folder stands. @internal */
export const SweepStatus = z.object({
  sweepId: z.string(),
  name: z.string(),
  plannedAtMs: z.number(),
  phase: z.enum(["running", "paused", "draining", "cancelling", "ended"]),
  outcome: z.string().nullable(),
  paused: z.string().nullable(),
  partOf: z.string().nullable().default(null).describe("the sweep it was made for, by adapt or evaluate"),
  live: z.boolean().describe("a controller is at work on it"),
  trials: z.record(z.string(), z.number()).describe("how many trials are in each state"),
});
/** Where a sweep of the folder stands: phase, what paused it, and how many trials are in each state. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- its name, in messages and pages
export interface SweepStatus extends z.output<typeof SweepStatus> {}

/** What a running sweep is told. @internal */
export const SweepCommand = z.discriminatedUnion("verb", [
  z.strictObject({ verb: z.literal("drain") }),
  z.strictObject({ verb: z.literal("cancel") }),
  z.strictObject({ verb: z.literal("pause") }),
  z.strictObject({ verb: z.literal("resume") }),
  z.strictObject({
    verb: z.literal("retry"),
    selection: z.discriminatedUnion("by", [
      z.strictObject({ by: z.literal("failed"), code: z.string().optional() }),
      z.strictObject({ by: z.literal("lost") }),
      z.strictObject({ by: z.literal("missing") }),
      z.strictObject({ by: z.literal("trials"), trialIds: z.array(z.string()).min(1) }),
    ]),
  }),
]);
/**
 * What a running sweep is told. drain: save a checkpoint and stop; cancel: end for good; pause, resume: hand out no new
 * work, go on; retry: send trials back to the queue.
 */
export type SweepCommand = z.output<typeof SweepCommand>;

/** How a sweep's events are read. */
export interface EventsOptions extends CallOptions {
  /**
   * Where more than so many are stored already, every n-th training window of them, and everything else: enough to know
   * where a sweep stands. What another process runs is told whole.
   */
  aboutAtMost?: number | undefined;
}

/**
 * A sweep under way, here or in another process, or one that ended before. Every call rejects with a BoraError, or with
 * its signal's reason.
 */
export interface SweepHandle {
  /** Its folder's name under `dir`. */
  readonly sweepId: string;
  /** here: this process trains it; elsewhere: another controller does, this one follows; ended: nothing is left to do. */
  readonly at: "here" | "elsewhere" | "ended";
  /**
   * Every event of the sweep after a position, then what comes, until it ended. Each is stored before it is seen, so
   * the position of the last one seen is where another reader goes on.
   */
  events(afterPosition?: number, options?: EventsOptions): AsyncIterable<SweepEvent>;
  /** Waits for the end and says how it ended; results are on disk by then. Throws only when nobody can tell. */
  outcome(options?: CallOptions): Promise<SweepOutcome>;
  /**
   * Waits for the end and returns the results of a sweep that is done: perplexities, nats and scored tokens of every
   * trial and task. Throws the code of the first trial that failed or of what stopped the sweep, `cancelled`, or
   * `interrupted`; `outcome()` has what there is in those cases.
   */
  result(options?: CallOptions): Promise<SweepResults>;
  /** Throws sweep_unknown when the sweep has ended. */
  send(command: SweepCommand): Promise<void>;
  /** Ends it for good: trials at work become `cancelled`. Throws sweep_unknown when it has ended. */
  cancel(): Promise<void>;
  /** Leaves at once; trainers go on until their leases run out. A follower only stops following. */
  abandon(): void;
}

/** What a program may hear of, and how it ends, a call that plans or trains. */
export interface SweepOptions extends CallOptions {
  /**
   * While the sweep is planned, aborting rejects the call with the signal's reason and nothing is trained. Once it
   * runs here, aborting drains it: the step in hand ends, a checkpoint is written, `outcome()` is "interrupted", and
   * the same call goes on from there. A sweep that runs elsewhere goes on; this process stops following it.
   */
  signal?: AbortSignal | undefined;
  /** What is going on before there are events, in words. */
  onStage?: (text: string) => void;
  /** A passing trouble that is no event: a silent trainer, a full disk. */
  onNotice?: (notice: { code: string; message: string; hint: string }) => void;
  /** Called when this process has become the controller of the store, before planning. */
  onController?: () => Promise<void>;
}

/**
 * The door for programs: one folder of sweeps, through its running controller where there is one. Disposing it drains
 * the sweep that runs here, ends every trainer this process started, and closes the store: nothing keeps the process.
 * Every call rejects with a BoraError, or with its signal's reason.
 *
 * More than the six methods of a port: it is a facade with one method a thing a person can ask for, and has two
 * implementations, for a folder and for an address.
 */
export interface Lab extends LabWork, AsyncDisposable {
  /**
   * Reads data and model and says what a sweep would do; trains nothing. Relative paths are seen from the working
   * directory. Throws spec_invalid, and what the trainer says of data or model (data_missing, model_unsupported, ...).
   */
  plan(spec: ExperimentInput, options?: SweepOptions): Promise<Preview>;
  /**
   * Starts, resumes or joins the experiment's sweep. Throws what `plan` does, and store_busy while another experiment
   * runs.
   */
  sweep(spec: ExperimentInput, options?: SweepOptions): Promise<SweepHandle>;
  /** Goes on with a sweep that this folder holds. Throws sweep_unknown. */
  continue(sweepId: string, command: SweepCommand, options?: SweepOptions): Promise<SweepHandle>;
  /** The sweep in hand, or one that ended. Throws sweep_unknown when nobody is at work on it and it has not ended. */
  follow(sweepId: string, options?: CallOptions): Promise<SweepHandle>;
  /** Every sweep of the folder, newest first. */
  status(options?: CallOptions): Promise<SweepStatus[]>;
  /**
   * What results.json says of a sweep that ended: for every trial (a tau and a seed) perplexities of validation and
   * test, and of each task nats and scored tokens. Throws sweep_unknown, results_missing, results_version and
   * artifact_corrupt.
   */
  results(sweepId: string, options?: CallOptions): Promise<SweepResults>;
  /**
   * The rows behind the results: one a held-out document and model (`task` adapters of a trial, its `prior-mean`
   * Theta, the `base` model), with nats summed over scored tokens. Some 10 bytes a row on disk, 200 in memory.
   * Throws sweep_unknown, results_missing and artifact_corrupt.
   */
  documents(sweepId: string, options?: CallOptions): Promise<DocumentRow[]>;
  /**
   * Continues a prompt by every source, side by side, a piece a token. Leaving the loop, or the signal, ends it. Throws
   * busy while this lab's controller trains; sweep_unknown, trial_unknown, task_unknown, prompt_too_long,
   * adapter_mismatch, adapter_unreadable.
   */
  generate(request: GenerateRequest, options?: GenerateOptions): AsyncIterable<GeneratedPiece>;
  /**
   * Writes adapters for use elsewhere, all or nothing. Throws target_exists, disk_full, sweep_unknown, trial_unknown,
   * task_unknown.
   */
  export(request: ExportRequest, options?: GenerateOptions): Promise<Exported>;
}
