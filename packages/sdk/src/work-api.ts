import { resolve } from "node:path";
import { Adaptation, Evaluation, FewShotCurves, parseExperiment, tauSchema } from "@bora/contracts";
import { z } from "zod";
import type { AdaptOutcome, AdaptRequest } from "./adapt.js";
import { DocumentRowJson } from "./documents.js";
import type { EvaluateOutcome, EvaluateRequest } from "./evaluate.js";
import type { Exported, ExportRequest } from "./export/export-request.js";
import type { FewShotOutcome, FewShotRequest } from "./few-shot-curves.js";
import type { DataFile } from "./new-data.js";

// What a lab that was opened by address asks for and is told: requests and answers of adapt, few-shot curves, evaluate
// and export as JSON. The interfaces stay where the work is; a schema that no longer fits its interface does not compile.

const name = z.string().min(1).max(4_096);
const names = z.array(name).min(1).max(10_000);
const optionalTau = z.union([z.literal("auto"), tauSchema]).optional();
const set = z.array(z.string().max(4_096)).max(1_000).optional();

const Data = z.strictObject({
  path: name,
  format: z.enum(["csv", "jsonl", "parquet"]).optional(),
  columns: z
    .strictObject({
      ...{ task: name.nullable().optional(), text: name.optional(), prompt: name.optional() },
      ...{ completion: name.optional(), id: name.optional(), date: name.optional() },
    })
    .optional(),
}) satisfies z.ZodType<DataFile>;

const Adapt = z.strictObject({
  ...{ sweepId: name, tau: optionalTau, task: name, data: Data.optional() },
  ...{ documents: z.int().min(0).optional(), set },
}) satisfies z.ZodType<AdaptRequest>;

const FewShot = z.strictObject({
  ...{ sweepId: name, tau: optionalTau, tasks: names.optional() },
  ...{ sizes: z.array(z.int().min(0)).max(100).optional(), set },
}) satisfies z.ZodType<FewShotRequest>;

const Evaluate = z.strictObject({
  of: z.union([
    z.strictObject({ sweepId: name }),
    z.strictObject({ experiment: z.unknown().transform((spec) => parseExperiment(spec)) }),
  ]),
  ...{ adapters: names, cwd: name.optional(), data: Data.optional(), tasks: names.optional() },
  ...{ onlyTask: name.optional(), set },
}) satisfies z.ZodType<EvaluateRequest>;

const Export = z.strictObject({
  ...{ sweepId: name, to: name, format: z.enum(["peft", "merged", "vllm"]) },
  ...{ taus: z.array(tauSchema).min(1).max(1_000).optional(), trialIds: names.optional(), tasks: names.optional() },
  ...{ priorMean: z.boolean().optional(), license: name.optional(), force: z.boolean().optional() },
  dtype: z.enum(["auto", "float32", "bfloat16"]).optional(),
}) satisfies z.ZodType<ExportRequest>;

/** What can be asked of a controller beside sweeps and texts; the last part of its path. */
export const workRequests = { adapt: Adapt, "few-shot-curves": FewShot, evaluate: Evaluate, export: Export } as const;
export type WorkKind = keyof typeof workRequests;
export const isWorkKind = (kind: string): kind is WorkKind => Object.hasOwn(workRequests, kind);

export const workAnswers = {
  adapt: z.object({ adaptation: Adaptation, folder: z.string() }) satisfies z.ZodType<AdaptOutcome>,
  "few-shot-curves": z.object({ curves: FewShotCurves, folder: z.string() }) satisfies z.ZodType<FewShotOutcome>,
  evaluate: z.object({
    evaluation: Evaluation,
    documents: z.array(DocumentRowJson),
    folder: z.string(),
  }) satisfies z.ZodType<EvaluateOutcome>,
  export: z.object({
    folder: z.string(),
    bytes: z.number(),
    adapters: z.array(
      z.object({
        ...{ name: z.string(), task: z.string().nullable(), trialId: z.string(), tau: tauSchema, folder: z.string() },
      }),
    ),
    serve: z.string().nullable(),
  }) satisfies z.ZodType<Exported>,
};

/** A sweep of the work begins: its id, and what it is for. */
export const WorkSweep = z.object({ sweepId: z.string(), words: z.string() });
export const WorkNotice = z.object({ code: z.string(), message: z.string(), hint: z.string() });

const anchoredFile = (data: DataFile | undefined): DataFile | undefined =>
  data && { ...data, path: resolve(data.path) };

/** Paths as this process sees them: the controller's working directory may be another. */
export const anchored = {
  adapt: (request: AdaptRequest): AdaptRequest => ({ ...request, data: anchoredFile(request.data) }),
  evaluate: ({ of, cwd = process.cwd(), ...request }: EvaluateRequest): EvaluateRequest => ({
    ...request,
    of: "experiment" in of ? { experiment: parseExperiment(of.experiment, process.cwd()) } : of,
    cwd: resolve(cwd),
    data: anchoredFile(request.data),
  }),
  export: (request: ExportRequest): ExportRequest => ({ ...request, to: resolve(request.to) }),
};
