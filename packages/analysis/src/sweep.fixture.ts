import type { DocumentRow, Inspected } from "@bora/contracts";
import type { SweepFacts, TrialFacts } from "./summarise.js";

export const row = (part: Partial<DocumentRow>): DocumentRow => ({
  model: "task",
  trial: "t",
  tau: 0,
  seed: 0,
  task: "Hamlet",
  split: "test",
  document: "1",
  date: "",
  tokens: 10,
  characters: 40,
  nats: 20,
  ...part,
});

const counts = (train: number) => ({ train, validation: 2, test: 2 });

export const inspected: Inspected = {
  tasks: [
    { name: "Ophelia", slug: "ophelia", documents: counts(8), scoredTokens: counts(80), cutDocuments: 1, cutTokens: 5 },
    { name: "Hamlet", slug: "hamlet", documents: counts(90), scoredTokens: counts(900), cutDocuments: 0, cutTokens: 0 },
  ],
  dataHash: "data",
  modelHash: "model",
  modelName: "a/model",
  baseParameters: 1,
  parametersPerRow: 1,
  adaptedModules: 1,
  files: [],
  warnings: ["1 of 104 documents was cut"],
  bytesPerRow: 1,
  baseBytes: 1,
  trainTokensPerSecond: 1,
  evaluateTokensPerSecond: 1,
  ...{ bytesPerFit: 1, activationBytesPerToken: 1, keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1 },
  ...{ processBytes: 1, prefixCacheBytes: 0, device: "cpu", freeMemoryBytes: 1, memoryBytes: 1 },
};

/** Two documents a task and split: of 10 and 30 tokens, at `ophelia` and `hamlet` nats a token. */
export function scored(part: Partial<DocumentRow>, ophelia: number, hamlet: number): DocumentRow[] {
  const rates = { Ophelia: ophelia, Hamlet: hamlet };
  return Object.entries(rates).flatMap(([task, rate]) =>
    (["validation", "test"] as const).flatMap((split) =>
      [10, 30].map((tokens) =>
        row({ ...part, task, split, document: `${split}-${tokens}`, tokens, nats: rate * tokens }),
      ),
    ),
  );
}

export const trial = (tau: number, part: Partial<TrialFacts> = {}): TrialFacts => ({
  id: `tau-${tau}-${part.seed ?? 0}`,
  tau,
  seed: 0,
  state: "done",
  steps: 100,
  bestStep: 75,
  ended: "validation",
  failure: null,
  float32Check: null,
  ...part,
});

/** Facts of a sweep whose trials have the given nats a token, [Ophelia, Hamlet]; Theta's are 0.1 higher. */
export function facts(trials: readonly [TrialFacts, number, number][], base: [number, number] = [5, 5]): SweepFacts {
  return {
    sweepId: "shakespeare-01234567",
    experiment: { name: "shakespeare" },
    inspected,
    versions: { bora: "0.1.0" },
    dtypes: ["float32"],
    float32Check: false,
    execution: { dtype: "float32", dtypeReason: "no native bfloat16", device: "cpu", threads: 2 },
    trials: trials.map(([own]) => own),
    documents: [
      ...trials.flatMap(([{ id, tau, seed }, ophelia, hamlet]) => [
        ...scored({ trial: id, tau, seed }, ophelia, hamlet),
        ...scored({ trial: id, tau, seed, model: "prior-mean" }, ophelia + 0.1, hamlet + 0.1),
      ]),
      ...scored({ model: "base", trial: "", tau: null, seed: null }, ...base),
    ],
  };
}
