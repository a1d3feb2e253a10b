import type { DocumentRow, Inspected, SweepResults } from "@bora/contracts";
import { splitResult } from "./split-result.js";
import { nothingLearnt, type TrialFacts } from "./summarise.js";

/** What results.json is made of when adapters were scored and nothing was trained. */
export interface EvaluationFacts {
  sweepId: string;
  experiment: unknown;
  inspected: Inspected;
  versions: Readonly<Record<string, string>>;
  execution: SweepResults["execution"];
  trials: readonly TrialFacts[];
  documents: readonly DocumentRow[];
}

/** Test alone, a trial an adapter, in their order; there is no best: nothing was chosen. Throws artifact_corrupt. */
export function summariseEvaluation(facts: EvaluationFacts): SweepResults {
  const { inspected, sweepId, experiment, execution } = facts;
  const tasks = inspected.tasks.map(({ name }) => name);
  const testOf = (trial: string) =>
    facts.documents.filter((row) => row.trial === trial && row.split === "test" && row.model === "task");
  return {
    ...{ schemaVersion: 1, sweepId, experiment, execution, versions: { ...facts.versions } },
    model: { name: inspected.modelName, hash: inspected.modelHash },
    data: {
      hash: inspected.dataHash,
      tasks: inspected.tasks.map(({ name, slug, documents, scoredTokens, cutDocuments }) => ({
        ...{ name, slug, documents, scoredTokens, cutDocuments },
      })),
    },
    base: null,
    trials: facts.trials.map((trial) => ({
      ...nothingLearnt,
      ...trial,
      validation: null,
      test: trial.state === "done" ? splitResult(testOf(trial.id), tasks) : null,
      priorMean: null,
    })),
    best: null,
    warnings: [...inspected.warnings],
  };
}
