import { z } from "zod";
import { tauSchema } from "./tau.js";

const most = 0xffffffff; // what the wire holds: a number beyond it would fail on its way to the trainer
const count = z.int().min(1).max(most);
const countFromZero = z.int().min(0).max(most);
const name = z
  .string()
  .min(1)
  .refine((text) => !/\p{Surrogate}/u.test(text), { message: "half a surrogate pair: no text in any encoding" });

const Dtype = z
  .enum(["auto", "float32", "bfloat16"])
  .default("auto")
  .describe("of the frozen base model; adapters are always float32");
const download = z.boolean().default(false).describe("allow a download when the model is not on this machine");

export const ModelSpec = z.discriminatedUnion("source", [
  z.strictObject({
    source: z.literal("package"),
    package: name.describe("Python package that ships weights"),
    dtype: Dtype,
  }),
  z.strictObject({
    source: z.literal("hub"),
    id: name.describe("Hugging Face id, e.g. facebook/opt-350m"),
    download,
    dtype: Dtype,
  }),
  z.strictObject({
    source: z.literal("path"),
    path: name.describe("model folder, relative to this file"),
    dtype: Dtype,
  }),
]);

export const TaskSelectionSpec = z
  .strictObject({
    top: count.optional().describe("the N tasks with the most documents"),
    names: z.array(name).min(1).optional(),
    all: z.literal(true).optional(),
    minDocuments: countFromZero.default(0).describe("tasks with fewer documents are left out (names: refused)"),
    trainDocuments: z.array(count).min(1).optional().describe("training documents to keep, by rank"),
    sizes: z
      .array(z.union([count, z.literal("all")]))
      .min(1)
      .optional()
      .describe(
        "every task several times, with so many of its training documents, each as a task of its own named `<task> [<size>]`: few-shot curves",
      ),
  })
  .refine((tasks) => [tasks.top, tasks.names, tasks.all].filter((by) => by !== undefined).length === 1, {
    message: "expected exactly one of top, names, all",
  });

export const SplitSpec = z.strictObject({
  by: z
    .enum(["seed", "date", "none"])
    .default("seed")
    .describe("date: oldest documents train, newest test; none: every document is test, for evaluate.adapters alone"),
  seed: countFromZero.default(0),
  fractions: z
    .tuple([z.number().gt(0), z.number().gt(0), z.number().gt(0)])
    .refine((parts) => Math.abs(parts[0] + parts[1] + parts[2] - 1) < 1e-9, { message: "fractions must sum to 1" })
    .default([0.6, 0.2, 0.2])
    .describe("train, validation, test"),
});

const dataFields = {
  tasks: TaskSelectionSpec.default({ all: true, minDocuments: 0 }),
  split: SplitSpec.prefault({}),
  maxTokens: count.min(2).default(256).describe("documents are cut to this many tokens; the plan says how many were"),
};

export const ColumnsSpec = z
  .strictObject({
    task: name.default("task"),
    onlyTask: name.optional().describe("the task of every row, where no column says it; task is then not read"),
    text: name.optional(),
    prompt: name.optional(),
    completion: name.optional(),
    id: name.optional(),
    date: name.optional(),
  })
  .refine((c) => (c.text !== undefined) !== (c.prompt !== undefined && c.completion !== undefined), {
    message: "expected either text, or prompt and completion",
  });

const path = name.describe("relative to this file");

export const DataSpec = z.discriminatedUnion("source", [
  z.strictObject({
    source: z.literal("shakespeare"),
    minCharacters: countFromZero.default(80).describe("shorter speeches are left out"),
    ...dataFields,
  }),
  z.strictObject({ source: z.literal("csv"), path, columns: ColumnsSpec, ...dataFields }),
  z.strictObject({ source: z.literal("jsonl"), path, columns: ColumnsSpec, ...dataFields }),
  z.strictObject({ source: z.literal("parquet"), path, columns: ColumnsSpec, ...dataFields }),
  z.strictObject({ source: z.literal("talk-of-norway"), path, ...dataFields }),
]);

export const AdapterSpec = z.strictObject({
  family: z.enum(["lora", "rslora"]).default("lora"),
  rank: count.max(1024).default(16),
  alpha: z.number().gt(0).default(16),
  targets: z.array(name).min(1).describe("module names, as PEFT's target_modules"),
  layers: z.array(countFromZero).min(1).optional().describe("decoder layers to adapt; all when left out"),
});

export const PriorSpec = z.strictObject({
  family: z.enum(["gaussian", "group-laplace"]).default("gaussian"),
  taus: z
    .array(tauSchema)
    .min(1)
    .refine((taus) => new Set(taus).size === taus.length, { message: "each tau once" }),
  tau0: z.number().min(0).default(0).describe("precision of the prior mean around its start; 0 = flat"),
  mean: z
    .strictObject({
      path: name.describe("adapter folder in PEFT's format, of the same base, rank, alpha, targets and layers"),
      fixed: z
        .boolean()
        .default(false)
        .describe("Theta stays there, as the known prior of new tasks; false: it starts there and is learnt"),
    })
    .optional()
    .describe("where Theta starts; a draw of the seed when left out"),
});

export const TrainSpec = z
  .strictObject({
    maxSteps: count.default(1000),
    patience: count.default(3).describe("evaluations without a better validation before a trial ends"),
    evaluateEvery: count.default(25).describe("steps"),
    checkpointEvery: count.optional().describe("steps, a multiple of evaluateEvery; evaluateEvery when left out"),
    sampler: z.enum(["groups", "documents", "uniform"]).default("groups"),
    tokensPerTask: count.default(256).describe("training tokens a step and task"),
    documentsPerTask: count.optional().describe("of the sampler documents"),
    validationDocuments: countFromZero.default(0).describe("a task, while training; 0 = all"),
    learningRate: z.number().gt(0).default(1e-3).describe("the same for every tau"),
    warmupSteps: countFromZero.default(0),
    decay: z.enum(["constant", "linear", "cosine"]).default("constant"),
    betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.999]),
    epsilon: z.number().gt(0).default(1e-12),
    bestStep: z
      .enum(["trial", "task"])
      .default("trial")
      .describe("task: each task keeps its own best step, its start included; only at tau 0 or with prior.mean.fixed"),
    seeds: z.array(countFromZero).min(1).default([0]),
  })
  .refine((t) => (t.checkpointEvery ?? t.evaluateEvery) % t.evaluateEvery === 0, {
    path: ["checkpointEvery"],
    message: "expected a multiple of evaluateEvery",
  })
  .refine((t) => t.sampler !== "documents" || t.documentsPerTask !== undefined, {
    path: ["documentsPerTask"],
    message: "the sampler documents needs it",
  });

export const EvaluateSpec = z.strictObject({
  float32Check: z
    .boolean()
    .default(false)
    .describe("also score test with the base in float32, to see what rounding does; nothing when it runs in float32"),
  adapters: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(200),
        path: name.optional().describe("adapter folder in PEFT's format; left out: the base model alone"),
      }),
    )
    .min(1)
    .refine((adapters) => new Set(adapters.map(({ name }) => name)).size === adapters.length, {
      message: "each name once",
    })
    .optional()
    .describe("train nothing: score these on everything held out; prior and train are not read"),
});

/** How trials share trainers. Changes cost, never a result beyond rounding, so it is no part of a trial's identity. */
export const PackSpec = z.strictObject({
  maxTrials: count.max(4096).default(16).describe("trials one trainer trains together"),
  maxRows: count.optional().describe("adapter rows (trials x tasks) one trainer holds"),
});

/**
 * Other ways of computing the same numbers. They change rounding as packs and micro-batches do, in the last places of
 * float32, so they are no part of a trial's identity: a sweep that is done is not trained again because one is turned
 * on. (A dtype is part of it: bfloat16 rounds every activation to three digits.) What the first attempt at a run used
 * is stored in its execution, and later attempts use it too.
 */
export const EngineSpec = z.strictObject({
  compile: z.boolean().default(false).describe("decoder layers through torch.compile; needs a C++ compiler"),
  cudaGraph: z.boolean().default(false).describe("micro-batches as recorded CUDA graphs; needs a graphics card"),
});

/** The one thing a person writes. Defaults live here and nowhere else. */
export const Experiment = z.strictObject({
  $schema: z.string().optional().describe("for editors"),
  partOf: z.string().optional().describe("the sweep that this one belongs to, where adapt or evaluate made it"),
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "lower-case letters, digits and hyphens, 63 at most"),
  model: ModelSpec,
  data: DataSpec,
  adapter: AdapterSpec,
  prior: PriorSpec,
  train: TrainSpec.prefault({}),
  evaluate: EvaluateSpec.prefault({}),
  pack: PackSpec.prefault({}),
  engine: EngineSpec.prefault({}),
});

/** An experiment with every default filled in, as a file or a program's object is read. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- its name, in messages and pages
export interface ExperimentSpec extends z.output<typeof Experiment> {}

/**
 * An experiment as a person writes it: what has a default may be left out, a tau is a number, `Infinity` or "inf".
 * docs/experiment.md has every field with its unit.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- its name, in messages and pages
export interface ExperimentInput extends z.input<typeof Experiment> {}
