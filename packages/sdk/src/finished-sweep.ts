import { BoraError, parseExperiment, type ExperimentSpec, type SweepResults } from "@bora/contracts";
import type { Lab, SweepStatus } from "./lab.js";
import { readResults, sweepFolder } from "./out-folder.js";

/** A sweep whose results are there to build on. */
export interface FinishedSweep {
  results: SweepResults;
  experiment: ExperimentSpec;
  folder: string;
}

function unfinished({ sweepId, trials, phase }: SweepStatus): BoraError {
  const count = Object.values(trials).reduce((sum, one) => sum + one, 0);
  const done = trials["done"] ?? 0;
  return new BoraError(
    "results_missing",
    `sweep ${sweepId} has no results yet: ${done} of ${count} trials are done, it is ${phase}`,
    { hint: `results are written when a sweep ends: bora resume ${sweepId} goes on with it` },
  );
}

/** Throws sweep_unknown, results_missing, results_version, artifact_corrupt. */
export async function finishedSweep(lab: Pick<Lab, "status">, dir: string, sweepId: string): Promise<FinishedSweep> {
  const folder = sweepFolder(dir, sweepId);
  const results = await readResults(folder);
  if (results !== null) return { results, experiment: parseExperiment(results.experiment), folder };
  const known = await lab.status();
  const status = known.find((one) => one.sweepId === sweepId);
  if (status !== undefined) throw unfinished(status);
  const names = known.map((one) => one.sweepId);
  throw new BoraError("sweep_unknown", `${dir} holds no sweep ${sweepId}, only ${names.join(", ") || "none"}`, {
    hint: "bora status lists the sweeps of --out",
  });
}
