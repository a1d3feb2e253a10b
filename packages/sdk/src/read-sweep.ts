import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, parseWith, SweepResults, type DocumentRow } from "@bora/contracts";
import { readDocuments } from "@bora/report";
import { foldSweep, type SweepState } from "@bora/scheduler";
import { openStore } from "@bora/store";
import { z } from "zod";
import { sweepFolder } from "./out-folder.js";
import { storeLocation } from "./store-location.js";
import { gramIn, resultsOf, type SweepNumbers } from "./write-results.js";

/** A sweep's numbers and where they are. */
export interface StoredSweep extends SweepNumbers {
  folder: string;
  /** Trials that have not ended, or whose files are not here yet; 0 once the sweep has ended. */
  open: number;
}

const Versioned = z.object({ schemaVersion: z.unknown() });
const readable = SweepResults.shape.schemaVersion.value;

const isMissing = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");

const corrupt = (file: string, why: unknown, cause?: unknown): BoraError =>
  new BoraError("artifact_corrupt", `${file} cannot be read: ${String(why)}`, {
    hint: "delete it and run bora report again: it is made anew from the trials' own files, where those are there",
    cause,
  });

/** results.json of a folder; null when it is not there. Throws results_version and artifact_corrupt. */
async function strictResults(folder: string): Promise<SweepResults | null> {
  const file = join(folder, "results.json");
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw corrupt(file, `it is no JSON (${text.length} characters)`, cause);
  }
  const version = Versioned.safeParse(value).data?.schemaVersion;
  if (version !== undefined && version !== readable)
    throw new BoraError(
      "results_version",
      `${file} has schemaVersion ${JSON.stringify(version)}, this reads ${readable}`,
      {
        hint: "use the version of BoRA that wrote it, or run the experiment's command again here: nothing is trained twice",
      },
    );
  const parsed = parseWith(SweepResults, value);
  if (!parsed.success)
    throw corrupt(file, z.prettifyError(parsed.error).split("\n").slice(0, 2).join(" "), parsed.error);
  return parsed.data;
}

/** documents.parquet of a folder, checked against its results; null when it is not there. Throws artifact_corrupt. */
async function strictDocuments(folder: string, results: SweepResults): Promise<DocumentRow[] | null> {
  const file = join(folder, "documents.parquet");
  const bytes = await readFile(file).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  if (bytes === null) return null;
  const rows = await readDocuments(bytes).catch((cause: unknown) => {
    throw corrupt(file, `${bytes.length} bytes, ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  });
  const scored = new Set(rows.map(({ trial }) => trial));
  const lacking = results.trials.filter(({ id, test }) => test !== null && !scored.has(id));
  if (lacking.length === 0) return rows;
  throw corrupt(file, `it lacks the documents of ${lacking.length} trials, first ${lacking[0]?.id}`);
}

/** What a folder holds on its own. Null without results.json. Throws results_version and artifact_corrupt. */
async function fromFiles(folder: string): Promise<StoredSweep | null> {
  const results = await strictResults(folder);
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
