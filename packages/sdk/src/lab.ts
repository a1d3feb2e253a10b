import type { Inspected, Plan } from "@bora/contracts";
import { SweepResults, type ExperimentSpec } from "@bora/contracts";
import type { DeviceMemory, Estimate } from "@bora/scheduler";
import { z } from "zod";
import type { Exported, ExportRequest } from "./export/export-request.js";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "./generate-request.js";
import type { LabWork } from "./lab-work.js";
import type { SweepEvent } from "./sweep-event.js";

/** What a sweep will do, before anything is spent. */
export interface Preview {
  plan: Plan;
  inspected: Inspected;
  estimate: Estimate;
  memory: DeviceMemory; // what the packs must fit into
  finished: string[]; // ids of trials that are trained already
}

const Reason = z.object({ code: z.string(), message: z.string(), hint: z.string() });

/** How a sweep ended. */
export const SweepOutcome = z.object({
  sweepId: z.string(),
  outcome: z.enum(["done", "failed", "stopped", "interrupted", "cancelled"]),
  alreadyDone: z.boolean().describe("every trial had ended before this call: nothing was trained"),
  reason: Reason.nullable().describe("why it did not end as done"),
  folder: z.string().describe("where results.json and its neighbours are"),
  results: SweepResults.nullable().describe("null when it was interrupted: they are written when it ends"),
});
export type SweepOutcome = z.output<typeof SweepOutcome>;

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
export type SweepStatus = z.output<typeof SweepStatus>;

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
export type SweepCommand = z.output<typeof SweepCommand>;

/** A sweep under way, here or in another process, or one that ended before. */
export interface SweepHandle {
  readonly sweepId: string;
  /** here: this process trains it; elsewhere: another controller does, this one follows; ended: nothing is left to do. */
  readonly at: "here" | "elsewhere" | "ended";
  /** Every event of the sweep after a position, then what comes, until it ended. */
  events(afterPosition?: number): AsyncIterable<SweepEvent>;
  /** Waits for the end; results are on disk by then. */
  outcome(): Promise<SweepOutcome>;
  /** Throws sweep_unknown when the sweep has ended. */
  send(command: SweepCommand): Promise<void>;
  /** Leaves at once; trainers go on until their leases run out. A follower only stops following. */
  abandon(): void;
}

export interface SweepOptions {
  /** Ends planning; a sweep that runs is ended by the handle's drain or cancel. */
  signal?: AbortSignal;
  /** What is going on before there are events, in words. */
  onStage?: (text: string) => void;
  /** A passing trouble that is no event: a silent trainer, a full disk. */
  onNotice?: (notice: { code: string; message: string; hint: string }) => void;
  /** Called when this process has become the controller of the store, before planning. */
  onController?: () => Promise<void>;
}

/** The door for programs: one folder of sweeps, through its running controller where there is one. */
export interface Lab extends LabWork, AsyncDisposable {
  /** Reads data and model and says what a sweep would do; trains nothing. */
  plan(spec: ExperimentSpec, options?: SweepOptions): Promise<Preview>;
  /** Starts, resumes or joins the experiment's sweep. Throws store_busy while another experiment runs. */
  sweep(spec: ExperimentSpec, options?: SweepOptions): Promise<SweepHandle>;
  /** Goes on with a sweep that this folder holds. Throws sweep_unknown. */
  continue(sweepId: string, command: SweepCommand, options?: SweepOptions): Promise<SweepHandle>;
  /** The sweep in hand, or one that ended. Throws sweep_unknown when nobody is at work on it and it has not ended. */
  follow(sweepId: string): Promise<SweepHandle>;
  status(): Promise<SweepStatus[]>; // newest first
  /** Throws sweep_unknown when there are none yet. */
  results(sweepId: string): Promise<SweepResults>;
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
