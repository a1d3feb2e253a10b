import { Inspected, Plan } from "@bora/contracts";
import type { DeviceMemory, Estimate } from "@bora/scheduler";
import { z } from "zod";

/** What a sweep will do, before anything is spent. */
export interface Preview {
  /** Sweep id, trials (a tau and a seed each), and which of them train together. */
  plan: Plan;
  /** Tasks, documents and scored tokens a split; bytes, and tokens per second, as measured. */
  inspected: Inspected;
  /** Rows, bytes, tokens a step, seconds from low to high, for each pack. */
  estimate: Estimate;
  /** Bytes that the packs must fit into. */
  memory: DeviceMemory;
  /** Ids of trials that are trained already. */
  finished: string[];
}

const bytes = z.number();
const seconds = z.number().nullable();

const Pack = z.object({
  ...{ packId: z.string(), trials: z.number(), rows: z.number(), tokensPerStep: z.number() },
  ...{ secondsLow: seconds, secondsHigh: seconds },
  memory: z.object({
    ...{ process: bytes, base: bytes, fits: bytes, rows: bytes, saving: bytes, passing: bytes, peak: bytes },
    ...{ microBatchRows: z.number(), microBatchTokens: z.number() },
  }),
});

const unknownMemory = null; // JSON has no infinity

const PreviewJson = z.object({
  plan: Plan,
  inspected: Inspected,
  estimate: z.object({
    ...{ rows: z.number(), tokensPerStep: z.number(), stepsPerEpoch: z.number(), packs: z.array(Pack) },
    ...{ secondsLow: seconds, secondsHigh: seconds },
  }),
  memory: z.object({
    device: z.string(),
    freeBytes: bytes.nullable().transform((free) => (free === unknownMemory ? Infinity : free)),
    totalBytes: bytes,
  }),
  finished: z.array(z.string()),
});

/** Reads what the controller says a sweep would do. Throws zod's error when it is no preview of this version. */
export const decodePreview = (text: string): Preview => PreviewJson.parse(JSON.parse(text));
