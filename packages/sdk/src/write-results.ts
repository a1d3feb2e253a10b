import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  documentRows,
  mappedTrial,
  nothingLearnt,
  summarise,
  summariseEvaluation,
  type Evidence,
  type ScoredTrial,
  type TrialFacts,
} from "@bora/analysis";
import {
  BoraError,
  isMissing,
  parseExperiment,
  wire,
  type DocumentRow,
  type SweepResults,
  type TrialResult,
} from "@bora/contracts";
import { replaceFile, resultsJson, writeReport } from "@bora/report";
import type { RunRecord, SweepState, TrialRecord } from "@bora/scheduler";
import { distancesOf, gramOf, readDistances } from "./distances-file.js";
import { sweepFolder, usableResults } from "./out-folder.js";

/** What results and report are made of. */
export interface SweepNumbers extends Evidence {
  results: SweepResults;
}

type Progress = Pick<TrialResult, "learning" | "taskBestSteps" | "oneStepCost">;

/** What one step for all tasks costs on the documents read while training; of a trial that is done. */
function oneStepCost({ outcome, taskBest }: TrialRecord): number | null {
  const lowest = taskBest.map(({ nllPerToken }) => nllPerToken).filter((nats) => Number.isFinite(nats)); // no tokens, no nats
  if (outcome === null || outcome.bestStep === 0 || lowest.length === 0) return null; // 0: no step was read
  return Math.max(0, outcome.nllPerToken - lowest.reduce((sum, nats) => sum + nats, 0) / lowest.length);
}

/** How a trial learnt; one that another sweep trained, as that sweep's results tell it. */
async function progressOf(trial: TrialRecord, folder: string, ownSteps: boolean): Promise<Progress> {
  const { steps, natsPerToken } = trial.validation;
  if (trial.adoptedFrom === null || steps.length > 0)
    return {
      learning: { steps: [...steps], natsPerToken: [...natsPerToken] },
      taskBestSteps: trial.taskBest.map(({ step }) => step),
      oneStepCost: ownSteps ? null : oneStepCost(trial),
    };
  const theirs = await usableResults(sweepFolder(dirname(folder), trial.adoptedFrom));
  const {
    learning,
    taskBestSteps,
    oneStepCost: cost,
  } = theirs?.trials.find(({ id }) => id === trial.id) ?? nothingLearnt;
  return { learning, taskBestSteps, oneStepCost: cost };
}

/** `ownSteps`: each task kept its own best step. */
async function trialFacts(
  trial: TrialRecord,
  folder: string,
  tasks: readonly string[],
  ownSteps: boolean,
): Promise<TrialFacts> {
  const { id, tau, seed, state, outcome, failure } = trial;
  const { steps = null, bestStep = null, ended = null, float32Check = null } = outcome ?? {};
  return {
    ...{ id, tau, seed, state: state.at, steps, bestStep, ended, failure, float32Check },
    ...(await progressOf(trial, folder, ownSteps)),
    distances: state.at === "done" ? distancesOf(await readDistances(folder, id), tasks) : null,
  };
}

/** The documents of a trial (null: the base model) that were fetched; none when the file is not there. */
async function documentsOf(folder: string, owner: ScoredTrial): Promise<DocumentRow[]> {
  const file = owner === null ? join(folder, "base") : join(folder, "trials", owner.id);
  try {
    return documentRows(await readFile(join(file, "documents.jsonl"), "utf8"), owner);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

const dtypeWord = ({ dtype }: wire.Execution): string => (dtype === wire.Dtype.BFLOAT16 ? "bfloat16" : "float32");

/** How the last run that said so was executed; a resumed run keeps what its first attempt chose. */
function executionOf(runs: readonly RunRecord[]): SweepResults["execution"] {
  const execution = runs.findLast((run) => run.execution !== null)?.execution ?? null;
  if (execution === null) return null;
  const { dtypeReason, device, threads } = execution;
  return { dtype: dtypeWord(execution), dtypeReason, device, threads };
}

/** A sweep's numbers from its state, which need not have ended, and the files in its folder. Throws artifact_corrupt. */
export async function resultsOf(state: SweepState, folder: string): Promise<SweepNumbers> {
  const { sweepId, experiment, inspected } = state;
  if (inspected === null)
    throw new BoraError("internal", `sweep ${sweepId} was never planned`, { hint: "please report it with the store" });
  const trials = Object.values(state.trials);
  const done = trials.filter((trial) => trial.state.at === "done");
  const parts = await Promise.all([null, ...done].map((owner) => documentsOf(folder, owner)));
  const documents = parts.flat();
  const runs = Object.values(state.runs);
  const versions = runs.findLast((run) => Object.keys(run.versions).length > 0)?.versions ?? {};
  const counted = new Set(done.map(({ runId }) => runId));
  const dtypes = runs.flatMap(({ runId, execution }) =>
    execution !== null && counted.has(runId) ? [dtypeWord(execution)] : [],
  );
  const { evaluate, train } = parseExperiment(experiment);
  const { float32Check, adapters } = evaluate;
  const facts = { sweepId, experiment, inspected, versions, execution: executionOf(runs), dtypes, float32Check };
  const tasks = inspected.tasks.map(({ name }) => name);
  const told = await Promise.all(trials.map((trial) => trialFacts(trial, folder, tasks, train.bestStep === "task")));
  const all = { ...facts, trials: told, documents };
  if (adapters !== undefined) return { results: summariseEvaluation(all), documents, gram: null };
  const results = summarise(all);
  return { results, documents, gram: await gramIn(folder, results) };
}

/** The inner products from which the map of adapters is drawn, where the trainer wrote them. Throws artifact_corrupt. */
export async function gramIn(folder: string, results: SweepResults): Promise<number[][] | null> {
  const mapped = mappedTrial(results);
  if (mapped === null) return null;
  return gramOf(
    await readDistances(folder, mapped.id),
    results.data.tasks.map(({ name }) => name),
  );
}

/**
 * Writes results.json, documents.parquet and report.html into the sweep's folder, each in one piece; of an evaluation
 * results.json alone: its own files tell what was asked.
 */
export async function writeResults(state: SweepState, folder: string): Promise<SweepResults> {
  const { results, ...evidence } = await resultsOf(state, folder);
  if (parseExperiment(state.experiment).evaluate.adapters === undefined) await writeReport(folder, results, evidence);
  else await replaceFile(join(folder, "results.json"), resultsJson(results));
  return results;
}
