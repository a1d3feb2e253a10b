import { type DocumentRow, type Inspected, type SweepResults, type TrialResult } from "@bora/contracts";
import { againstEnds } from "./against-ends.js";
import { bestTrial } from "./best-trial.js";
import { compare } from "./tau-order.js";
import { heldOut } from "./held-out.js";
import { bothSplits } from "./split-result.js";
import { dtypeWarnings, resultWarnings } from "./warnings.js";

type Learnt = Pick<TrialResult, "learning" | "taskBestSteps" | "oneStepCost" | "distances">;

/** Of a trial of whose training and adapters nothing is known. */
export const nothingLearnt: Learnt = {
  learning: { steps: [], natsPerToken: [] },
  taskBestSteps: [],
  oneStepCost: null,
  distances: null,
};

/** Where a trial ended, without its numbers. */
export type TrialFacts = Pick<
  TrialResult,
  "id" | "tau" | "seed" | "state" | "steps" | "bestStep" | "ended" | "failure" | "float32Check"
> &
  Partial<Learnt>;

/** Everything that results.json is made of. */
export interface SweepFacts {
  sweepId: string;
  experiment: unknown; // with every default filled in
  inspected: Inspected;
  versions: Readonly<Record<string, string>>;
  execution: SweepResults["execution"];
  dtypes: readonly string[]; // of the runs whose trials are in it
  float32Check: boolean; // whether it was asked for
  trials: readonly TrialFacts[];
  documents: readonly DocumentRow[]; // of all trials and the base model
}

function groupByTrial(documents: readonly DocumentRow[]): (trial: string) => readonly DocumentRow[] {
  const groups = new Map<string, DocumentRow[]>();
  for (const row of documents) {
    const group = groups.get(row.trial);
    if (group === undefined) groups.set(row.trial, [row]);
    else group.push(row);
  }
  return (trial) => groups.get(trial) ?? [];
}

function trialResult(facts: TrialFacts, rows: readonly DocumentRow[], tasks: readonly string[]): TrialResult {
  const scored = facts.state === "done" || facts.state === "stopped" ? bothSplits(rows, "task", tasks) : null;
  return {
    ...nothingLearnt,
    ...facts,
    validation: scored?.validation ?? null,
    test: scored?.test ?? null,
    priorMean: scored === null ? null : bothSplits(rows, "prior-mean", tasks),
  };
}

/**
 * A sweep's numbers from its scored documents (docs/method.md, section 9): trials by tau, then seed; the best by macro
 * validation nats per token; its difference to both ends with a paired bootstrap interval on test. Pure: the same facts
 * give the same results. Throws artifact_corrupt when documents are missing or do not fit.
 */
export function summarise(facts: SweepFacts): SweepResults {
  const { inspected } = facts;
  const tasks = inspected.tasks.map(({ name }) => name);
  const rowsOf = groupByTrial(facts.documents);
  const trials = facts.trials
    .toSorted((a, b) => compare(a.tau, b.tau) || a.seed - b.seed)
    .map((trial) => trialResult(trial, rowsOf(trial.id), tasks));
  const base = bothSplits(rowsOf(""), "base", tasks);
  const winner = bestTrial(trials);
  const finishedTest = () =>
    heldOut(
      trials.filter(({ state }) => state === "done").flatMap(({ id }) => rowsOf(id)),
      "test",
    );
  const best = winner && { trialId: winner.id, tau: winner.tau, against: againstEnds(winner.tau, finishedTest()) };
  const data = {
    hash: inspected.dataHash,
    tasks: inspected.tasks.map(({ name, slug, documents, scoredTokens, cutDocuments }) => ({
      name,
      slug,
      documents,
      scoredTokens,
      cutDocuments,
    })),
  };
  return {
    schemaVersion: 1,
    sweepId: facts.sweepId,
    experiment: facts.experiment,
    versions: { ...facts.versions },
    execution: facts.execution,
    model: { name: inspected.modelName, hash: inspected.modelHash },
    data,
    base,
    trials,
    best,
    warnings: [...resultWarnings({ trials, best, base, data }, inspected.warnings), ...dtypeWarnings(facts)],
  };
}
