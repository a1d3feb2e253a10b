import { writeFileSync } from "node:fs";

export interface ExperimentSize {
  name: string;
  trials: number;
  trialsInPack: number;
}

const tauCount = 20;

/** An experiment of so many trials, of which nobody reads model or data. */
export function experimentOf({ name, trials, trialsInPack }: ExperimentSize) {
  const many = trials % tauCount === 0;
  const between = Array.from({ length: tauCount - 2 }, (_, place) => 10 ** (place / 3));
  const seeds = Array.from({ length: many ? trials / tauCount : trials }, (_, seed) => seed);
  return {
    name,
    model: { source: "path" as const, path: "/a-model-that-nobody-reads" },
    data: { source: "csv" as const, path: "/data-that-nobody-reads.csv", columns: { text: "text" } },
    adapter: { targets: ["q_proj"] },
    prior: { taus: many ? [0, ...between, "inf" as const] : [1] },
    train: { maxSteps: 100_000, patience: 100_000, seeds },
    pack: { maxTrials: trialsInPack },
  };
}

export const writeExperiment = (file: string, size: ExperimentSize): void => {
  writeFileSync(file, JSON.stringify(experimentOf(size)));
};
