import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, parseExperiment, SweepResults, type ExperimentSpec } from "@bora/contracts";
import { z } from "zod";
import type { Lab, SweepStatus } from "./lab.js";
import { sweepFolder } from "./out-folder.js";

/** A sweep whose results are there to build on. */
export interface FinishedSweep {
  results: SweepResults;
  experiment: ExperimentSpec;
  folder: string;
}

const Version = z.object({ schemaVersion: z.number() });

/** results.json, or null when it is not there. Throws results_version, artifact_corrupt. */
async function read(file: string): Promise<SweepResults | null> {
  const text = await readFile(file, "utf8").catch(() => null);
  if (text === null) return null;
  const json = jsonOf(text, file);
  const version = Version.safeParse(json).data?.schemaVersion;
  if (version !== undefined && version !== 1)
    throw new BoraError("results_version", `${file} has schemaVersion ${version}, this version of BoRA reads 1`, {
      hint: "use the version that wrote it, or run the experiment again in another folder with --out",
    });
  const parsed = SweepResults.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw corrupt(file, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "unreadable"}`);
}

const corrupt = (file: string, what: string): BoraError =>
  new BoraError("artifact_corrupt", `${file} is no results file: ${what}`, {
    hint: "delete it and run the same sweep again: nothing is trained twice",
  });

function jsonOf(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw corrupt(file, String(cause));
  }
}

function unfinished({ sweepId, trials, phase }: SweepStatus): BoraError {
  const count = Object.values(trials).reduce((sum, one) => sum + one, 0);
  const done = trials["done"] ?? 0;
  return new BoraError(
    "sweep_unfinished",
    `sweep ${sweepId} has no results yet: ${done} of ${count} trials are done, it is ${phase}`,
    { hint: `results are written when a sweep ends: bora resume ${sweepId} goes on with it` },
  );
}

/** Throws sweep_unknown, sweep_unfinished, results_version, artifact_corrupt. */
export async function finishedSweep(lab: Pick<Lab, "status">, dir: string, sweepId: string): Promise<FinishedSweep> {
  const folder = sweepFolder(dir, sweepId);
  const results = await read(join(folder, "results.json"));
  if (results !== null) return { results, experiment: parseExperiment(results.experiment), folder };
  const known = await lab.status();
  const status = known.find((one) => one.sweepId === sweepId);
  if (status !== undefined) throw unfinished(status);
  const names = known.map((one) => one.sweepId);
  throw new BoraError("sweep_unknown", `${dir} holds no sweep ${sweepId}, only ${names.join(", ") || "none"}`, {
    hint: "bora status lists the sweeps of --out",
  });
}
