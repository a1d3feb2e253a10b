import { z } from "zod";
import { tauSchema } from "./tau.js";

const TaskResult = z.object({ name: z.string(), nats: z.number(), tokens: z.number(), perplexity: z.number() });
/** One split: macro = exp(mean over tasks of nats per token), micro = exp(nats / tokens). */
export const SplitResult = z.object({
  macroPerplexity: z.number(),
  microPerplexity: z.number(),
  nats: z.number(),
  tokens: z.number(),
  tasks: z.array(TaskResult),
});
export type SplitResult = z.infer<typeof SplitResult>;
const BothSplits = z.object({ validation: SplitResult, test: SplitResult });
const counts = z.object({ train: z.number(), validation: z.number(), test: z.number() });

/** Test under the task adapters, scored in the run's dtype and in float32: how much of the numbers is rounding. */
export const Float32Check = z.object({
  natsPerToken: z.number().describe("macro, in the run's dtype; the test perplexity is its exponential"),
  float32NatsPerToken: z.number().describe("macro, the same adapters on the base in float32"),
  largestRelativeDifference: z.number().describe("of a document's nats"),
});
export type Float32Check = z.infer<typeof Float32Check>;

/** Macro validation while the trial trained; at most a few hundred points of it. */
const Learning = z.object({
  steps: z.array(z.number()),
  natsPerToken: z.array(z.number()).describe("macro, at each of the steps"),
});

/** How far a trial's adapters are from Theta, tasks in the order of data.tasks; docs/statistics.md, section 5. */
export const TrialDistances = z.object({
  factors: z.array(z.number()).describe("||theta_d - Theta|| over the factors A and B"),
  changes: z.array(z.number()).describe("||dW_d - dW_Theta||_F over all modules, scale included"),
  priorMean: z.number().describe("||dW_Theta||_F"),
});
export type TrialDistances = z.infer<typeof TrialDistances>;

export const TrialResult = z.object({
  id: z.string(),
  tau: tauSchema.describe('number, or "inf"'),
  seed: z.number(),
  state: z.enum(["planned", "queued", "running", "done", "failed", "stopped", "cancelled", "metrics_missing"]),
  steps: z.number().nullable(),
  bestStep: z.number().nullable(),
  ended: z.enum(["validation", "limit"]).nullable(),
  validation: SplitResult.nullable(),
  test: SplitResult.nullable(),
  priorMean: BothSplits.nullable().describe("Theta alone on every task"),
  failure: z.object({ code: z.string(), message: z.string(), hint: z.string() }).nullable(),
  float32Check: Float32Check.nullable()
    .default(null)
    .describe("null unless evaluate.float32Check is set and the base ran in another dtype"),
  learning: Learning.default({ steps: [], natsPerToken: [] }).describe("empty where nothing is known of it"),
  taskBestSteps: z
    .array(z.number())
    .default([])
    .describe(
      "the step of each task's own lowest validation nats, in the order of data.tasks; the adapters are those of bestStep",
    ),
  oneStepCost: z
    .number()
    .nullable()
    .default(null)
    .describe(
      "on the validation documents read while training: macro nats per token at bestStep, less the mean of each task's own lowest; null where nothing is known of it, or each task kept its own step",
    ),
  distances: TrialDistances.nullable().default(null).describe("null where the trainer did not measure them"),
});
export type TrialResult = z.output<typeof TrialResult>;

/** How the best tau's macro test perplexity stands against an end of the range; docs/method.md, section 9. */
export const EndComparison = z.object({
  end: z.enum(["independent", "shared"]).describe("tau = 0, tau = inf"),
  percent: z.number().describe("of the end's perplexity; negative: the best tau is better"),
  low: z.number().describe("95 % interval, paired bootstrap over documents within tasks (and seeds, when several)"),
  high: z.number(),
  withinNoise: z.boolean().describe("the interval contains 0"),
});
export type EndComparison = z.infer<typeof EndComparison>;

/** results.json. Nothing in it is chosen by the test split: best looks at validation alone. @internal */
export const SweepResults = z.object({
  schemaVersion: z.literal(1),
  sweepId: z.string(),
  experiment: z.unknown().describe("the experiment with every default filled in"),
  versions: z.record(z.string(), z.string()),
  execution: z
    .object({ dtype: z.string(), dtypeReason: z.string(), device: z.string(), threads: z.number() })
    .nullable(),
  model: z.object({ name: z.string(), hash: z.string() }),
  data: z.object({
    hash: z.string(),
    tasks: z.array(
      z.object({
        name: z.string(),
        slug: z.string(),
        documents: counts,
        scoredTokens: counts,
        cutDocuments: z.number(),
      }),
    ),
  }),
  base: BothSplits.nullable(),
  trials: z.array(TrialResult),
  best: z
    .object({
      trialId: z.string(),
      tau: tauSchema,
      against: z
        .array(EndComparison)
        .default([])
        .describe("empty where no end is in the grid beside the best, or nothing could vary"),
    })
    .nullable()
    .describe("the tau with the lowest macro validation nats per token, mean over seeds, and its best seed's trial"),
  warnings: z.array(z.string()),
});
/**
 * results.json: what was run, on what, and for every trial (a tau and a seed) perplexities of validation and test, and
 * of each task its nats and scored tokens. docs/results.md has every field. `best` looks at validation alone.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- its name, in messages and pages
export interface SweepResults extends z.output<typeof SweepResults> {}

/** A row of documents.parquet: one held-out document under one model. */
export interface DocumentRow {
  /** The task's adapter, Theta alone, or the frozen base. */
  model: "task" | "prior-mean" | "base";
  /** Empty for the base model. */
  trial: string;
  /** Prior precision in nats, Infinity for one shared adapter; null for the base model. */
  tau: number | null;
  /** Null for the base model. */
  seed: number | null;
  task: string;
  split: "validation" | "test";
  document: string;
  /** As the data have it; empty where they have none. */
  date: string;
  /** Scored ones. */
  tokens: number;
  /** Of the scored text. */
  characters: number;
  /** Negative log-likelihood, natural logarithms, summed over the scored tokens. */
  nats: number;
}
