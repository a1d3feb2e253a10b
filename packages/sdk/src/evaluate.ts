import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { bitsPerCharacter, compareModels, splitResult } from "@bora/analysis";
import { BoraError, type DocumentRow, type Evaluation, type ExperimentSpec } from "@bora/contracts";
import { evaluationParquet, replaceFile } from "@bora/report";
import { namedAdapter, type NamedAdapter } from "./adapter-names.js";
import { toJson } from "./controller-api.js";
import { finishedSweep } from "./finished-sweep.js";
import { dataOf, type DataFile } from "./new-data.js";
import { derived, derivedName, runToEnd, type Ended, type SeriesLab, type SeriesOptions } from "./sweep-series.js";

/** Which adapters to score, and on which documents. */
export interface EvaluateRequest {
  /** What the adapters and the base are of: a finished sweep of the folder, or an experiment. */
  of: { sweepId: string } | { experiment: ExperimentSpec };
  /** `base`, adapter folders, and of a sweep `theta@tau`, `task@tau`. */
  adapters: readonly string[];
  /** Where relative folders are seen from. */
  cwd?: string;
  /** Every document of a file; the test split of the experiment's own data when left out. */
  data?: DataFile;
  /** Only these tasks of it. */
  tasks?: readonly string[];
  /** What all rows are called where the file has no column of tasks. */
  onlyTask?: string;
  set?: readonly string[];
}

/** What they scored in nats per token, with intervals, and where the file is. */
export interface EvaluateOutcome {
  evaluation: Evaluation;
  documents: DocumentRow[];
  folder: string;
}

/**
 * Scores adapters that exist on documents, under the base they belong to, beside each other: a run of the lab's folder
 * like any other. Writes evaluation.json and documents.parquet. Throws as `finishedSweep` and `Lab.sweep`,
 * adapter_unreadable, adapter_mismatch, usage, interrupted.
 */
export async function evaluate(
  lab: SeriesLab,
  request: EvaluateRequest,
  options: SeriesOptions = {},
): Promise<EvaluateOutcome> {
  const { of, cwd = process.cwd() } = request;
  const sweep = "sweepId" in of ? await finishedSweep(lab, lab.dir, of.sweepId) : null;
  const own = "experiment" in of ? of.experiment : sweep?.experiment;
  if (own === undefined)
    throw new BoraError("usage", "nothing says which base the adapters are of", { hint: "name a sweep" });
  const adapters = distinct(request.adapters.map((words) => namedAdapter(words, sweep, cwd)));
  const ended = await runToEnd(lab, experimentOf(own, request, adapters), "scoring adapters", options);
  const evaluation = await conclude(request, adapters, ended);
  const documents = await documentsOf(adapters, ended);
  await replaceFile(join(ended.folder, "documents.parquet"), evaluationParquet(documents));
  const text = JSON.stringify(JSON.parse(toJson(evaluation)), null, 2);
  await replaceFile(join(ended.folder, "evaluation.json"), `${text}\n`);
  return { evaluation, documents: documents.flatMap(({ rows }) => rows), folder: ended.folder };
}

/** Folders of one name are told apart by the folder above. */
function distinct(adapters: readonly NamedAdapter[]): NamedAdapter[] {
  const shared = (name: string) => adapters.filter((other) => other.name === name).length > 1;
  const named = adapters.map(({ name, path }) =>
    path !== undefined && shared(name) ? { name: `${basename(join(path, ".."))}/${name}`, path } : { name, path },
  );
  const repeated = named.find(({ name }, index) => named.findIndex((other) => other.name === name) < index);
  if (repeated !== undefined)
    throw new BoraError("usage", `${repeated.name} is named twice among ${adapters.length} adapters`, {
      hint: "name each adapter once",
    });
  return named.map(({ name, path }) => (path === undefined ? { name } : { name, path }));
}

function experimentOf(own: ExperimentSpec, request: EvaluateRequest, adapters: NamedAdapter[]): ExperimentSpec {
  const { data: file, tasks: names, onlyTask = "all documents", set, of } = request;
  const ofFile =
    names === undefined ? ({ all: true, minDocuments: 0 } as const) : { names: [...names], minDocuments: 0 };
  const data = file === undefined ? ownData(own, names) : dataOf(own.data, file, ofFile, onlyTask);
  const split = file === undefined ? data.split : { ...data.split, by: "none" as const };
  const prior = { family: own.prior.family, tau0: 0, taus: [Infinity] };
  const change = { data: { ...data, split }, prior, evaluate: { float32Check: false, adapters } };
  const partOf = "sweepId" in of ? { partOf: of.sweepId } : {};
  return derived(own, { ...change, ...partOf, name: derivedName(own.name, "evaluate") }, set);
}

function ownData({ data }: ExperimentSpec, names: readonly string[] | undefined): ExperimentSpec["data"] {
  if (names === undefined) return data;
  const { minDocuments } = data.tasks;
  return { ...data, tasks: { names: [...names], minDocuments } };
}

interface Scored {
  name: string;
  path: string | null;
  rows: DocumentRow[];
}

/** Trial i scored adapter i. */
async function documentsOf(adapters: readonly NamedAdapter[], ended: Ended): Promise<Scored[]> {
  const read = adapters.map(async ({ name, path = null }, index) => {
    const trial = ended.results.trials[index];
    const rows = trial === undefined ? [] : await ended.documents(trial, "task");
    return { name, path, rows };
  });
  return Promise.all(read);
}

async function conclude(
  request: EvaluateRequest,
  adapters: readonly NamedAdapter[],
  ended: Ended,
): Promise<Evaluation> {
  const scored = await documentsOf(adapters, ended);
  const { model, data, sweepId, warnings } = ended.results;
  const tasks = data.tasks.map(({ name }) => name);
  const [first, ...others] = scored;
  const pairs = first === undefined ? [] : others.map(({ name }) => [name, first.name] as const);
  const named = scored.map(({ name, rows }) => ({ name, documents: rows }));
  const compared = compareModels(named, pairs);
  return {
    ...{ schemaVersion: 1, sweepId, model, warnings, split: request.data === undefined ? "test" : "all documents" },
    data: {
      hash: data.hash,
      tasks: data.tasks.map(({ name, documents, scoredTokens }) => ({
        ...{ name, documents: documents.test, tokens: scoredTokens.test },
      })),
    },
    adapters: await Promise.all(scored.map((one) => totals(one, tasks))),
    models: compared.models,
    differences: compared.differences,
  };
}

async function totals({ name, path, rows }: Scored, tasks: readonly string[]): Promise<Evaluation["adapters"][number]> {
  const { macroPerplexity, microPerplexity, tasks: each } = splitResult(rows, tasks);
  const weights = path === null ? null : await readFile(join(path, "adapter_model.safetensors"));
  const sha256 = weights === null ? null : createHash("sha256").update(weights).digest("hex");
  const { micro } = bitsPerCharacter(rows);
  const bits = Number.isFinite(micro) ? micro : null;
  return { name, folder: path, sha256, macroPerplexity, microPerplexity, bitsPerCharacter: bits, tasks: each };
}
