import type { ExperimentSpec } from "./experiment.js";
import type { Inspected } from "./inspected.js";
import {
  AdapterFamily,
  BestStep,
  Dtype,
  LearningRateDecay,
  PriorFamily,
  Sampler,
  SplitBy,
  TableFormat,
  type AdapterSpec,
  type Columns,
  type DataSpec,
  type EvaluateSpec,
  type ModelSource,
  type PriorSpec,
  type RunSpec,
  type TrainSpec,
} from "./generated/bora/trainer/v1/run.js";

/** What an experiment says to a trainer; fits, run id and execution are the scheduler's to add. */
export type RunBase = Pick<
  RunSpec,
  "model" | "data" | "adapter" | "prior" | "train" | "float32Check" | "engine" | "evaluate"
>;

const dtypes = { auto: Dtype.AUTO, float32: Dtype.FLOAT32, bfloat16: Dtype.BFLOAT16 } as const;
const formats = { csv: TableFormat.CSV, jsonl: TableFormat.JSONL, parquet: TableFormat.PARQUET } as const;
const splits = { seed: SplitBy.SEED, date: SplitBy.DATE, none: SplitBy.NONE } as const;
const samplers = { groups: Sampler.GROUPS, documents: Sampler.DOCUMENTS, uniform: Sampler.UNIFORM } as const;
const decays = {
  constant: LearningRateDecay.CONSTANT,
  linear: LearningRateDecay.LINEAR,
  cosine: LearningRateDecay.COSINE,
} as const;

/** The corpus's own column names (Talk of Norway). */
const talkOfNorway: Columns = {
  task: "rep_name",
  text: "text",
  prompt: "",
  completion: "",
  id: "id",
  date: "date",
  onlyTask: "",
};

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
  const { text = "", prompt = "", completion = "", id = "", date = "", onlyTask = "" } = spec.columns;
  const task = onlyTask === "" ? spec.columns.task : "";
  return {
    $case: "table",
    table: {
      format: formats[spec.source],
      path: spec.path,
      columns: { task, text, prompt, completion, id, date, onlyTask },
    },
  };
}

function data(spec: ExperimentSpec["data"]): DataSpec {
  const { top, names, minDocuments, trainDocuments = [], sizes = [] } = spec.tasks;
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
      sizes: sizes.map((size) => (size === "all" ? 0 : size)),
    },
    split: {
      by: splits[spec.split.by],
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

/** The adapter folders that an experiment reads, in the order in which Inspect tells of them. */
export const adapterFolders = ({ prior: { mean }, evaluate: { adapters } }: ExperimentSpec): string[] => {
  const named = adapters === undefined ? [mean?.path] : adapters.map(({ path }) => path);
  return [...new Set(named.filter((path) => path !== undefined))];
};

/** The content of an adapter folder as it was inspected; empty where nobody looked. */
export function folderHash(spec: ExperimentSpec, inspected: Inspected | null, path: string): string {
  return inspected?.adapterFolders?.[adapterFolders(spec).indexOf(path)]?.sha256 ?? "";
}

function prior(spec: ExperimentSpec, inspected: Inspected | null): PriorSpec {
  const { family, tau0, mean } = spec.prior;
  return {
    family: family === "gaussian" ? PriorFamily.GAUSSIAN : PriorFamily.GROUP_LAPLACE,
    tau0,
    mean: mean === undefined ? undefined : { ...mean, sha256: folderHash(spec, inspected, mean.path) },
  };
}

function evaluate(spec: ExperimentSpec, inspected: Inspected | null): EvaluateSpec | undefined {
  const { adapters } = spec.evaluate;
  if (adapters === undefined) return undefined;
  return {
    adapters: adapters.map(({ path = "" }) => ({ path, sha256: path === "" ? "" : folderHash(spec, inspected, path) })),
  };
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
    bestStep: spec.bestStep === "task" ? BestStep.TASK : BestStep.TRIAL,
  };
}

/** `inspected`: what the adapter folders held when the experiment was planned, so that a trainer refuses others. */
export const runBase = (spec: ExperimentSpec, inspected: Inspected | null = null): RunBase => ({
  model: modelSource(spec.model),
  data: data(spec.data),
  adapter: adapter(spec.adapter),
  prior: prior(spec, inspected),
  train: train(spec.train),
  float32Check: spec.evaluate.float32Check,
  engine: { ...spec.engine },
  evaluate: evaluate(spec, inspected),
});
