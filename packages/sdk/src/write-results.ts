import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { documentRows, summarise, summariseEvaluation, type ScoredTrial, type TrialFacts } from "@bora/analysis";
import { BoraError, parseExperiment, wire, type DocumentRow, type SweepResults } from "@bora/contracts";
import { replaceFile, resultsJson, writeReport } from "@bora/report";
import type { RunRecord, SweepState, TrialRecord } from "@bora/scheduler";

function trialFacts({ id, tau, seed, state, outcome, failure }: TrialRecord): TrialFacts {
  const { steps = null, bestStep = null, ended = null, float32Check = null } = outcome ?? {};
  return { id, tau, seed, state: state.at, steps, bestStep, ended, failure, float32Check };
}

/** The documents of a trial (null: the base model) that were fetched; none when the file is not there. */
async function documentsOf(folder: string, owner: ScoredTrial): Promise<DocumentRow[]> {
  const file = owner === null ? join(folder, "base") : join(folder, "trials", owner.id);
  try {
    return documentRows(await readFile(join(file, "documents.jsonl"), "utf8"), owner);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
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

/** A sweep's numbers from its state and the documents in its folder. Throws artifact_corrupt. */
export async function resultsOf(
  state: SweepState,
  folder: string,
): Promise<{ results: SweepResults; documents: DocumentRow[] }> {
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
  const { float32Check, adapters } = parseExperiment(experiment).evaluate;
  const facts = { sweepId, experiment, inspected, versions, execution: executionOf(runs), dtypes, float32Check };
  if (adapters !== undefined)
    return { results: summariseEvaluation({ ...facts, trials: trials.map(trialFacts), documents }), documents };
  return { results: summarise({ ...facts, trials: trials.map(trialFacts), documents }), documents };
}

/**
 * Writes results.json, documents.parquet and report.html into the sweep's folder, each in one piece; of an evaluation
 * results.json alone: its own files tell what was asked.
 */
export async function writeResults(state: SweepState, folder: string): Promise<SweepResults> {
  const { results, documents } = await resultsOf(state, folder);
  if (parseExperiment(state.experiment).evaluate.adapters === undefined) await writeReport(folder, results, documents);
  else await replaceFile(join(folder, "results.json"), resultsJson(results));
  return results;
}
