import { createHash } from "node:crypto";
import { cp, mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { compareModels, type NamedModel } from "@bora/analysis";
import type { Adaptation } from "@bora/contracts";
import { BoraError, formatTau, type ExperimentSpec, type TrialResult } from "@bora/contracts";
import { replaceFile } from "@bora/report";
import { toJson } from "./controller-api.js";
import { finishedSweep, type FinishedSweep } from "./finished-sweep.js";
import { dataOf, type DataFile } from "./new-data.js";
import {
  derived,
  derivedName,
  onlyTrial,
  runToEnd,
  type Ended,
  type SeriesLab,
  type SeriesOptions,
} from "./sweep-series.js";
import { chooseTheta, type ThetaChoice } from "./theta-choice.js";

/** A new task: whose Theta, at which tau (nats), and which documents. */
export interface AdaptRequest {
  sweepId: string;
  /** "auto", the default: the sweep's best by validation among the taus above 0. */
  tau?: number | "auto";
  /** A task the sweep has not seen: of the file, or of the sweep's own source. */
  task: string;
  data?: DataFile;
  /** Training documents to keep; 0: Theta itself; all when left out. Validation and test stay whole. */
  documents?: number;
  /** Assignments over the sweep's experiment, as `--set`. */
  set?: readonly string[];
}

/** What the new adapter is worth in macro nats per token beside base, Theta alone and scratch, with intervals; where it is. */
export interface AdaptOutcome {
  adaptation: Adaptation;
  /** Where adapt.json and the adapter's folder are. */
  folder: string;
}

const names = { base: "base", theta: "prior-mean", scratch: "scratch", adapted: "adapted" } as const;
const pairs = [
  [names.adapted, names.base],
  [names.adapted, names.theta],
  [names.adapted, names.scratch],
  [names.theta, names.scratch],
] as const;

function refuseSeenTask({ results }: FinishedSweep, { task, data }: AdaptRequest): void {
  if (data !== undefined || results.data.tasks.every(({ name }) => name !== task)) return;
  throw new BoraError(
    "usage",
    `task ${task} is one of the ${results.data.tasks.length} that ${results.sweepId} learnt from`,
    {
      hint: "name a task it has not seen, or a file with --data; bora adapt --curve leaves each of its own out in turn",
    },
  );
}

/** The experiments: under Theta (base and Theta alone are scored beside it), and from a fresh start. */
function experiments(sweep: FinishedSweep, theta: ThetaChoice, request: AdaptRequest) {
  const { task, documents, data: file, set } = request;
  const own = sweep.experiment;
  const none = documents === 0;
  const tasks = {
    names: [task],
    minDocuments: 0,
    ...(documents !== undefined && { trainDocuments: [none ? 1 : documents] }), // at 0 it is there and not read
  };
  const data = dataOf(own.data, file, tasks, task);
  const common = { data, train: { ...own.train, bestStep: "task" }, partOf: sweep.results.sweepId } as const;
  const size = documents === undefined ? "all" : String(documents);
  const mean = { path: join(sweep.folder, "adapters", theta.trial.id, "prior-mean"), fixed: true };
  const { family } = own.prior;
  const named = (role: string) => derivedName(own.name, role, task, size);
  const adapted: ExperimentSpec = derived(
    own,
    { ...common, name: named("adapt"), prior: { family, tau0: 0, mean, taus: [none ? Infinity : theta.tau] } },
    set,
  );
  const scratch = derived(own, { ...common, name: named("scratch"), prior: { family, tau0: 0, taus: [0] } }, set);
  return { adapted, scratch: none ? null : scratch, mean };
}

/**
 * Fits an adapter of a new task with Theta of a finished sweep fixed as its prior, and says what it is worth beside the
 * base, Theta alone and training from scratch. Two ordinary sweeps of the lab's folder: the same call goes on with them.
 * Throws as `finishedSweep` and `Lab.sweep`, trial_unknown, usage, interrupted.
 */
export async function adapt(lab: SeriesLab, request: AdaptRequest, options: SeriesOptions = {}): Promise<AdaptOutcome> {
  const sweep = await finishedSweep(lab, lab.dir, request.sweepId);
  refuseSeenTask(sweep, request);
  const theta = chooseTheta(sweep.results, request.tau ?? "auto");
  const { adapted, scratch, mean } = experiments(sweep, theta, request);
  const under = await runToEnd(lab, adapted, `${request.task} under Theta of tau = ${formatTau(theta.tau)}`, options);
  const alone = scratch === null ? null : await runToEnd(lab, scratch, `${request.task} from scratch`, options);
  const adaptation = await conclude(sweep, theta, request, { under, alone, meanFolder: mean.path });
  const size = request.documents === undefined ? "all" : String(request.documents);
  const folder = join(sweep.folder, "adapt", derivedName(request.task, size, `tau-${formatTau(theta.tau)}`));
  await keep(folder, adaptation, under);
  return { adaptation, folder };
}

interface Trained {
  under: Ended;
  alone: Ended | null; // null: no document to train on, scratch is the base
  meanFolder: string;
}

async function conclude(
  { results }: FinishedSweep,
  theta: ThetaChoice,
  { task, documents }: AdaptRequest,
  { under, alone, meanFolder }: Trained,
): Promise<Adaptation> {
  const [trial, fresh] = [onlyTrial(under), alone === null ? null : onlyTrial(alone)];
  const base = await under.documents(null, "base");
  const models: NamedModel[] = [
    { name: names.base, documents: base },
    { name: names.theta, documents: await under.documents(trial, "prior-mean") },
    { name: names.scratch, documents: alone === null ? base : await alone.documents(fresh, "task") },
    { name: names.adapted, documents: await under.documents(trial, "task") },
  ];
  const compared = compareModels(models, pairs);
  const { documents: kept, scoredTokens } = under.results.data.tasks[0] ?? { documents: zero, scoredTokens: zero };
  const trained = documents === 0 ? { train: 0 } : {};
  return {
    ...{ schemaVersion: 1, sweepId: results.sweepId, task, tau: theta.tau, tauChoice: tauWords(theta, documents) },
    prior: { trialId: theta.trial.id, folder: meanFolder, sha256: await fileHash(join(meanFolder, weightsFile)) },
    model: under.results.model,
    data: {
      hash: under.results.data.hash,
      documents: { ...kept, ...trained },
      scoredTokens: { ...scoredTokens, ...trained },
    },
    models: compared.models,
    differences: compared.differences,
    endings: [ending(names.adapted, trial), ...(fresh === null ? [] : [ending(names.scratch, fresh)])],
    sweeps: { adapted: under.sweepId, scratch: alone?.sweepId ?? null },
    adapter: "adapter",
    warnings: warningsOf(kept, [
      { name: names.adapted, trial },
      ...(fresh === null ? [] : [{ name: names.scratch, trial: fresh }]),
    ]),
  };
}

const few = 10; // documents under which an interval says little

/** What to know before trusting these numbers; what a sweep warns of its own grid of taus is not it. */
function warningsOf(counts: typeof zero, trained: readonly { name: string; trial: TrialResult }[]): string[] {
  const limited = trained.filter(({ trial }) => trial.ended === "limit");
  return [
    ...limited.map(
      ({ name, trial }) =>
        `${name} ended at the step limit (${trial.steps ?? 0}) while validation might still have improved: raise train.maxSteps`,
    ),
    ...(counts.test < few ? [`${counts.test} test documents: the intervals are wide, and rest on few`] : []),
    ...(counts.validation < few
      ? [`${counts.validation} validation documents decide when training stops: a better step may be another one`]
      : []),
  ];
}

const zero = { train: 0, validation: 0, test: 0 };

const weightsFile = "adapter_model.safetensors";

const fileHash = async (file: string): Promise<string> =>
  createHash("sha256")
    .update(await readFile(file))
    .digest("hex");

const ending = (model: string, { steps, bestStep, ended }: TrialResult) => ({ model, steps, bestStep, ended });

function tauWords(theta: ThetaChoice, documents: number | undefined): string {
  if (documents === 0) return `${theta.words}; without documents the adapter is Theta itself`;
  return theta.tau === Infinity ? `${theta.words}; at infinity the adapter is Theta itself` : theta.words;
}

/** Puts the adapter and then adapt.json into `folder`, each in one piece. */
async function keep(folder: string, adaptation: Adaptation, under: Ended): Promise<void> {
  await mkdir(folder, { recursive: true });
  const slug = under.results.data.tasks[0]?.slug ?? "";
  const [place, beside] = [join(folder, adaptation.adapter), join(folder, ".adapter.next")];
  await rm(beside, { recursive: true, force: true });
  await cp(join(under.folder, "adapters", onlyTrial(under).id, slug), beside, { recursive: true });
  await rm(place, { recursive: true, force: true });
  await rename(beside, place);
  await replaceFile(join(folder, "adapt.json"), `${JSON.stringify(JSON.parse(toJson(adaptation)), null, 2)}\n`);
}
