import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { documentRows } from "@bora/analysis";
import {
  BoraError,
  isErrorCode,
  overrideExperiment,
  parseExperiment,
  type DocumentRow,
  type ExperimentSpec,
  type SweepResults,
  type TrialResult,
} from "@bora/contracts";
import { toJson } from "./controller-api.js";
import type { Lab, SweepHandle, SweepOptions } from "./lab.js";

/** What work that takes several sweeps needs of a lab, and where its folder is. */
export interface SeriesLab extends Pick<Lab, "sweep" | "status"> {
  readonly dir: string;
}

export interface SeriesOptions extends SweepOptions {
  /** Called with every sweep as it begins, and what it is for. */
  onSweep?: (handle: SweepHandle, words: string) => void;
}

/** A sweep that came to its end, with all it scored. */
export interface Ended {
  sweepId: string;
  folder: string;
  results: SweepResults;
  /** Test documents of a trial under its task adapters or under Theta; of the base for null. Throws artifact_corrupt. */
  documents(trial: TrialResult | null, model: DocumentRow["model"]): Promise<DocumentRow[]>;
}

const interrupted = (sweepId: string): BoraError =>
  new BoraError("interrupted", `stopped while ${sweepId} was at work`, {
    hint: "the same command again goes on from its last checkpoint; what is done is not done again",
  });

/** Asks a sweep to stop at a checkpoint as soon as the signal says so. A follower only stops following. */
function drainOn(signal: AbortSignal | undefined, handle: SweepHandle): () => void {
  const stop = () => {
    if (handle.at === "elsewhere") handle.abandon();
    else handle.send({ verb: "drain" }).catch(() => undefined); // it has ended meanwhile
  };
  if (signal?.aborted === true) stop();
  signal?.addEventListener("abort", stop, { once: true });
  return () => {
    signal?.removeEventListener("abort", stop);
  };
}

/**
 * Runs an experiment of the series to its end, or finds that it has ended before. Throws interrupted on the signal, and
 * the failure's own code when a trial failed.
 */
export async function runToEnd(
  lab: SeriesLab,
  spec: ExperimentSpec,
  words: string,
  options: SeriesOptions,
): Promise<Ended> {
  if (options.signal?.aborted === true) throw interrupted(spec.name);
  const handle = await lab.sweep(spec, options);
  options.onSweep?.(handle, words);
  const release = drainOn(options.signal, handle);
  const ended = await handle.outcome().finally(release);
  const { sweepId, outcome, reason, folder, results } = ended;
  if (outcome === "done" && results !== null)
    return { sweepId, folder, results, documents: (trial, model) => testDocuments(folder, trial, model) };
  if (reason === null || !isErrorCode(reason.code)) throw interrupted(sweepId);
  throw new BoraError(reason.code, `${words} (sweep ${sweepId}): ${reason.message}`, {
    hint: `${reason.hint}; bora retry --sweep ${sweepId} --failed tries again, then the same command goes on`,
  });
}

async function testDocuments(
  folder: string,
  trial: TrialResult | null,
  model: DocumentRow["model"],
): Promise<DocumentRow[]> {
  const file = join(folder, trial === null ? "base" : join("trials", trial.id), "documents.jsonl");
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new BoraError("artifact_corrupt", `${file} cannot be read`, { hint: "retry the trial: bora retry", cause });
  });
  return documentRows(text, trial).filter((row) => row.split === "test" && row.model === model);
}

/** The one trial of a sweep of one tau and one seed, or the best of its seeds on validation. */
export function onlyTrial({ sweepId, results }: Ended): TrialResult {
  const found = results.trials.find(({ id }) => id === results.best?.trialId) ?? results.trials[0];
  if (found !== undefined) return found;
  throw new BoraError("metrics_missing", `sweep ${sweepId} has no trial`, { hint: "run the same command again" });
}

/** An experiment made from a sweep's own: what it says of prior, data and train counts, then `set` over it. */
export function derived(
  own: ExperimentSpec,
  change: Partial<Pick<ExperimentSpec, "data" | "prior" | "train" | "evaluate" | "partOf" | "name">>,
  set: readonly string[] = [],
): ExperimentSpec {
  const { name, model, data, adapter, prior, train, evaluate, pack, engine } = own;
  const { float32Check } = evaluate;
  const json: unknown = JSON.parse(
    toJson({ ...{ name, model, data, adapter, prior, train, pack, engine }, evaluate: { float32Check }, ...change }),
  );
  return parseExperiment(overrideExperiment(json, { set }));
}

/** A name of at most 63 lower-case letters, digits and hyphens; what tells one from another is its sweep's hash. */
export function derivedName(...parts: readonly string[]): string {
  const words = parts.map((part) =>
    part
      .normalize("NFKD")
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-+|-+$/g, ""),
  );
  return words
    .filter((word) => word !== "")
    .join("-")
    .slice(0, 63)
    .replace(/-+$/, "");
}
