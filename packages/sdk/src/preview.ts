import { Inspected, Plan } from "@bora/contracts";
import type { DeviceMemory, Estimate } from "@bora/scheduler";
import { z } from "zod";

/** What a sweep will do, before anything is spent. */
export interface Preview {
  plan: Plan; // sweep id, trials (a tau and a seed each), and which of them train together
  inspected: Inspected; // tasks, documents and scored tokens a split; bytes and tokens per second as measured
  estimate: Estimate; // rows, bytes, tokens a step, seconds from low to high, a pack
  memory: DeviceMemory; // bytes that the packs must fit into
  finished: string[]; // ids of trials that are trained already
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
