import type { ExperimentSpec } from "./experiment.js";
import {
  AdapterFamily,
  Dtype,
  LearningRateDecay,
  PriorFamily,
  Sampler,
  SplitBy,
  TableFormat,
  type AdapterSpec,
  type Columns,
  type DataSpec,
  type ModelSource,
  type PriorSpec,
  type RunSpec,
  type TrainSpec,
} from "./generated/bora/trainer/v1/run.js";

/** What an experiment says to a trainer; fits, run id and execution are the scheduler's to add. */
export type RunBase = Pick<RunSpec, "model" | "data" | "adapter" | "prior" | "train" | "float32Check" | "engine">;

const dtypes = { auto: Dtype.AUTO, float32: Dtype.FLOAT32, bfloat16: Dtype.BFLOAT16 } as const;
const formats = { csv: TableFormat.CSV, jsonl: TableFormat.JSONL, parquet: TableFormat.PARQUET } as const;
const samplers = { groups: Sampler.GROUPS, documents: Sampler.DOCUMENTS, uniform: Sampler.UNIFORM } as const;
const decays = {
  constant: LearningRateDecay.CONSTANT,
  linear: LearningRateDecay.LINEAR,
  cosine: LearningRateDecay.COSINE,
} as const;

/** The corpus's own column names (Talk of Norway). */
const talkOfNorway: Columns = { task: "rep_name", text: "text", prompt: "", completion: "", id: "id", date: "date" };

export function modelSource(spec: ExperimentSpec["model"]): ModelSource {
  const dtype = dtypes[spec.dtype];
  switch (spec.source) {
    case "package":
      return { source: { $case: "package", package: spec.package }, download: false, dtype };
    case "hub":
      return { source: { $case: "hub", hub: spec.id }, download: spec.download, dtype };
    case "path":
      return { source: { $case: "path", path: spec.path }, download: false, dtype };
    default:
      return spec satisfies never;
  }
}

function source(spec: ExperimentSpec["data"]): DataSpec["source"] {
  if (spec.source === "shakespeare")
    return { $case: "shakespeare", shakespeare: { minCharacters: spec.minCharacters } };
  if (spec.source === "talk-of-norway")
    return { $case: "table", table: { format: TableFormat.CSV, path: spec.path, columns: talkOfNorway } };
  const { task, text = "", prompt = "", completion = "", id = "", date = "" } = spec.columns;
  return {
    $case: "table",
    table: { format: formats[spec.source], path: spec.path, columns: { task, text, prompt, completion, id, date } },
  };
}

function data(spec: ExperimentSpec["data"]): DataSpec {
  const { top, names, minDocuments, trainDocuments = [] } = spec.tasks;
  const [train, validation, test] = spec.split.fractions;
  return {
    source: source(spec),
    tasks: {
      by:
        top !== undefined
          ? { $case: "top", top }
          : names !== undefined
            ? { $case: "names", names: { names } }
            : { $case: "all", all: true },
      minDocuments,
      trainDocuments,
    },
    split: {
      by: spec.split.by === "date" ? SplitBy.DATE : SplitBy.SEED,
      seed: spec.split.seed,
      train,
      validation,
      test,
    },
    maxTokens: spec.maxTokens,
  };
}

function adapter(spec: ExperimentSpec["adapter"]): AdapterSpec {
  const family = spec.family === "lora" ? AdapterFamily.LORA : AdapterFamily.RSLORA;
  return { family, rank: spec.rank, alpha: spec.alpha, targets: spec.targets, layers: spec.layers ?? [] };
}

function prior(spec: ExperimentSpec["prior"]): PriorSpec {
  return { family: spec.family === "gaussian" ? PriorFamily.GAUSSIAN : PriorFamily.GROUP_LAPLACE, tau0: spec.tau0 };
}

function train(spec: ExperimentSpec["train"]): TrainSpec {
  return {
    maxSteps: spec.maxSteps,
    patience: spec.patience,
    evaluateEvery: spec.evaluateEvery,
    checkpointEvery: spec.checkpointEvery ?? spec.evaluateEvery,
    sampler: samplers[spec.sampler],
    tokensPerTask: spec.tokensPerTask,
    documentsPerTask: spec.documentsPerTask ?? 0,
    validationDocuments: spec.validationDocuments,
    learningRate: spec.learningRate,
    warmupSteps: spec.warmupSteps,
    decay: decays[spec.decay],
    beta1: spec.betas[0],
    beta2: spec.betas[1],
    epsilon: spec.epsilon,
  };
}

export const runBase = (spec: ExperimentSpec): RunBase => ({
  model: modelSource(spec.model),
  data: data(spec.data),
  adapter: adapter(spec.adapter),
  prior: prior(spec.prior),
  train: train(spec.train),
  float32Check: spec.evaluate.float32Check,
  engine: { ...spec.engine },
});
