import { z } from "zod";
import type { InspectResponse } from "./generated/bora/trainer/v1/trainer.js";

const SplitCounts = z.object({ train: z.number(), validation: z.number(), test: z.number() });

/** What a trainer read of an experiment's data and model; kept in the store so that planning again asks nobody. */
export const Inspected = z.object({
  tasks: z.array(
    z.object({
      name: z.string(),
      slug: z.string(),
      documents: SplitCounts,
      scoredTokens: SplitCounts,
      cutDocuments: z.number(),
      cutTokens: z.number(),
    }),
  ),
  dataHash: z.string(),
  modelHash: z.string(),
  modelName: z.string(),
  baseParameters: z.number(),
  parametersPerRow: z.number(),
  adaptedModules: z.number(),
  files: z.array(z.object({ path: z.string(), size: z.number(), modifiedMs: z.number() })),
  warnings: z.array(z.string()),
  bytesPerRow: z.number(),
  baseBytes: z.number(),
  trainTokensPerSecond: z.number(),
  evaluateTokensPerSecond: z.number(),
  // Bytes of memory, docs/performance.md; 0 and "" in stores from before they were measured.
  bytesPerFit: z.number().default(0),
  activationBytesPerToken: z.number().default(0),
  keptBytesPerToken: z.number().default(0),
  microBatchTokens: z.number().default(0),
  workingBytes: z.number().default(0),
  processBytes: z.number().default(0),
  prefixCacheBytes: z.number().default(0),
  device: z.string().default(""),
  freeMemoryBytes: z.number().default(0), // before the model was loaded
  memoryBytes: z.number().default(0),
  adapterFolders: z.array(z.object({ path: z.string(), sha256: z.string() })).optional(), // as adapterFolders lists them
});
export type Inspected = z.infer<typeof Inspected>;

const counts = (c: { train: bigint; validation: bigint; test: bigint } | undefined) => ({
  train: Number(c?.train ?? 0n),
  validation: Number(c?.validation ?? 0n),
  test: Number(c?.test ?? 0n),
});

/** The wire's answer with plain numbers, all below 2^53. */
export function inspectedFromProto(response: InspectResponse): Inspected {
  return {
    ...response,
    tasks: response.tasks.map((task) => ({
      name: task.name,
      slug: task.slug,
      documents: counts(task.documents),
      scoredTokens: counts(task.scoredTokens),
      cutDocuments: task.cutDocuments,
      cutTokens: Number(task.cutTokens),
    })),
    baseParameters: Number(response.baseParameters),
    bytesPerRow: Number(response.bytesPerRow),
    baseBytes: Number(response.baseBytes),
    bytesPerFit: Number(response.bytesPerFit),
    activationBytesPerToken: Number(response.activationBytesPerToken),
    keptBytesPerToken: Number(response.keptBytesPerToken),
    workingBytes: Number(response.workingBytes),
    processBytes: Number(response.processBytes),
    prefixCacheBytes: Number(response.prefixCacheBytes),
    freeMemoryBytes: Number(response.freeMemoryBytes),
    memoryBytes: Number(response.memoryBytes),
    files: response.files.map((file) => ({
      path: file.path,
      size: Number(file.size),
      modifiedMs: Number(file.modifiedMs),
    })),
  };
}
