import { stat } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, type DocumentRow, type SweepResults } from "@bora/contracts";
import { foldSweep, type SweepState } from "@bora/scheduler";
import { openStore } from "@bora/store";
import { readDocuments } from "./documents.js";
import { corruptFile, readResults, sweepFolder } from "./out-folder.js";
import { storeLocation } from "./store-location.js";
import { gramIn, resultsOf, type SweepNumbers } from "./write-results.js";

/** A sweep's numbers and where they are. */
export interface StoredSweep extends SweepNumbers {
  folder: string;
  /** Trials that have not ended, or whose files are not here yet; 0 once the sweep has ended. */
  open: number;
}

/** documents.parquet of a folder, checked against its results; null when it is not there. Throws artifact_corrupt. */
async function strictDocuments(folder: string, results: SweepResults): Promise<DocumentRow[] | null> {
  const rows = await readDocuments(folder);
  if (rows === null) return null;
  const scored = new Set(rows.map(({ trial }) => trial));
  const lacking = results.trials.filter(({ id, test }) => test !== null && !scored.has(id));
  if (lacking.length === 0) return rows;
  throw corruptFile(
    join(folder, "documents.parquet"),
    `it lacks the documents of ${lacking.length} trials, first ${lacking[0]?.id}`,
  );
}

/** What a folder holds on its own. Null without results.json. Throws results_version and artifact_corrupt. */
async function fromFiles(folder: string): Promise<StoredSweep | null> {
  const results = await readResults(folder);
  const documents = results && (await strictDocuments(folder, results));
  if (results === null || documents === null) return null;
  return { folder, open: 0, results, documents, gram: await gramIn(folder, results) };
}

/** What a sweep's events and fetched files tell, whether it has ended or not. Throws results_missing while no trial is done. */
async function fromState(state: SweepState, folder: string): Promise<StoredSweep> {
  const trials = Object.values(state.trials);
  const done = trials.filter((trial) => trial.state.at === "done" && trial.fetched).length;
  if (done === 0)
    throw new BoraError("results_missing", `${done} of ${trials.length} trials of sweep ${state.sweepId} are done`, {
      hint: "there is something to report once one is; bora status shows where it stands",
    });
  const waits = new Set(["planned", "queued", "running"]);
  const open = trials.filter(({ state: { at }, fetched }) => waits.has(at) || (at === "done" && !fetched)).length;
  return { folder, open: state.phase.at === "ended" ? 0 : open, ...(await resultsOf(state, folder)) };
}

/** A sweep of an out folder by its id, or a results folder by its path. */
export type SweepPlace = { dir: string; sweepId: string } | { folder: string };

/** The numbers and documents of a sweep, finished or not. Throws sweep_unknown, results_missing, results_version, artifact_corrupt. */
export const readPlace = (place: SweepPlace): Promise<StoredSweep> =>
  "folder" in place ? readSweepFolder(place.folder) : readSweep(place.dir, place.sweepId);

/**
 * A sweep of an out folder: from its files when it has ended, else as far as it has come. Throws sweep_unknown,
 * results_missing, results_version and artifact_corrupt.
 */
export async function readSweep(dir: string, sweepId: string): Promise<StoredSweep> {
  await using store = await openStore({ ...storeLocation(dir), mode: "read" });
  const state = await foldSweep(store, sweepId);
  const folder = sweepFolder(dir, sweepId);
  if (state.plan === null || state.phase.at === "ended") {
    const stored = await fromFiles(folder);
    if (stored !== null) return stored;
  }
  if (state.plan !== null) return fromState(state, folder);
  throw new BoraError("sweep_unknown", `${dir} holds no sweep ${sweepId}`, {
    hint: "bora status lists the sweeps of --out; a results folder can be named by its path",
  });
}

/** A results folder by its path, wherever it is. Throws results_missing, results_version and artifact_corrupt. */
export async function readSweepFolder(folder: string): Promise<StoredSweep> {
  const stored = await fromFiles(folder);
  if (stored !== null) return stored;
  const there = await stat(folder).then(
    (found) => (found.isDirectory() ? "a folder without results.json and documents.parquet" : "no folder"),
    () => "not there",
  );
  throw new BoraError("results_missing", `${folder} is ${there}`, {
    hint: "name a sweep of --out, or the folder of one that has ended",
  });
}
