import { z } from "zod";
import { tauSchema } from "./tau.js";

const bound = z.number().nullable().describe("95 % interval over held-out documents; null where nothing could vary");

/** What one model is worth on the test documents: macro nats per token over the tasks. */
export const ModelLevel = z.object({
  name: z.string(),
  natsPerToken: z.number(),
  low: bound,
  high: bound,
  perplexity: z.number().describe("exp(natsPerToken)"),
});
export type ModelLevel = z.output<typeof ModelLevel>;

/** Two models on the same documents, by paired bootstrap: negative, the first is better. */
export const ModelDifference = z.object({
  first: z.string(),
  second: z.string(),
  natsPerToken: z.number(),
  low: bound,
  high: bound,
  p: z.number().describe("two-sided"),
  percent: z.number().describe("of the second's perplexity"),
  withinNoise: z.boolean().describe("the interval contains 0, or there is none"),
});
export type ModelDifference = z.output<typeof ModelDifference>;

const comparison = { models: z.array(ModelLevel), differences: z.array(ModelDifference) };
const counts = z.object({ train: z.number(), validation: z.number(), test: z.number() });
const model = z.object({ name: z.string(), hash: z.string() });
const tau = {
  tau: tauSchema.describe("prior precision around Theta"),
  tauChoice: z.string().describe("in words: who chose it, and what it means here"),
};

/** adapt.json: a new task's adapter under a known Theta, beside what else one could have done. */
export const Adaptation = z.object({
  schemaVersion: z.literal(1),
  sweepId: z.string().describe("whose Theta it is"),
  task: z.string(),
  ...tau,
  prior: z.object({
    trialId: z.string(),
    folder: z.string(),
    sha256: z.string().describe("of adapter_model.safetensors"),
  }),
  model,
  data: z.object({ hash: z.string(), documents: counts, scoredTokens: counts }),
  ...comparison,
  endings: z.array(
    z.object({
      model: z.string(),
      bestStep: z.number().nullable(),
      steps: z.number().nullable(),
      ended: z.enum(["validation", "limit"]).nullable(),
    }),
  ),
  sweeps: z
    .object({ adapted: z.string(), scratch: z.string().nullable() })
    .describe("the two sweeps of the same folder it came from"),
  adapter: z.string().describe("folder of the new adapter, in PEFT's format"),
  warnings: z.array(z.string()),
});
export type Adaptation = z.output<typeof Adaptation>;

const size = z.union([z.number(), z.literal("all")]);

/** One model after so many training documents: of one task, or the mean over tasks (task null). */
export const CurvePoint = z.object({
  model: z.enum(["base", "prior-mean", "scratch", "adapted"]),
  size: size.describe("training documents; a task that has fewer counts with all of its own"),
  task: z.string().nullable(),
  natsPerToken: z.number(),
  low: bound,
  high: bound,
});
export type CurvePoint = z.output<typeof CurvePoint>;

/** few-shot.json: every task in turn left out of the sweep, then adapted to with few documents. */
export const FewShotCurves = z.object({
  schemaVersion: z.literal(1),
  sweepId: z.string(),
  ...tau,
  model,
  tasks: z.array(z.object({ name: z.string(), trainDocuments: z.number(), testDocuments: z.number() })),
  sizes: z.array(size),
  points: z.array(CurvePoint),
  differences: z.array(ModelDifference.extend({ size })),
  sweeps: z.array(
    z.object({ task: z.string().nullable(), role: z.enum(["others", "adapted", "scratch"]), sweepId: z.string() }),
  ),
  warnings: z.array(z.string()),
});
export type FewShotCurves = z.output<typeof FewShotCurves>;

/** evaluation.json: adapters that exist on a data set. */
export const Evaluation = z.object({
  schemaVersion: z.literal(1),
  sweepId: z.string().describe("of the evaluation"),
  model,
  data: z.object({
    hash: z.string(),
    tasks: z.array(z.object({ name: z.string(), documents: z.number(), tokens: z.number() })),
  }),
  split: z.enum(["all documents", "test"]),
  adapters: z.array(
    z.object({
      name: z.string(),
      folder: z.string().nullable().describe("null: the base model"),
      sha256: z.string().nullable(),
      macroPerplexity: z.number(),
      microPerplexity: z.number(),
      bitsPerCharacter: z
        .number()
        .nullable()
        .describe("over all documents; null where the scored text has no character"),
      tasks: z.array(z.object({ name: z.string(), nats: z.number(), tokens: z.number(), perplexity: z.number() })),
    }),
  ),
  ...comparison,
  warnings: z.array(z.string()),
});
export type Evaluation = z.output<typeof Evaluation>;
