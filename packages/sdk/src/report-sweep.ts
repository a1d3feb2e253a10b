import type { SweepResults } from "@bora/contracts";
import { writeWholeReport, type WrittenReport } from "@bora/report";
import { readSweep, readSweepFolder } from "./read-sweep.js";

/** A sweep of an out folder by its id, or a results folder by its path. */
export type SweepPlace = { dir: string; sweepId: string } | { folder: string };

export interface SweepReport extends Omit<WrittenReport, "findings"> {
  folder: string; // where the files are
  open: number; // trials that have not ended
  results: SweepResults;
}

/**
 * Writes report, figures and tables of a sweep, finished or not, into `to` (its own folder when left out). Throws
 * sweep_unknown, results_missing, results_version, artifact_corrupt and disk_full.
 */
export async function reportSweep(place: SweepPlace, to?: string): Promise<SweepReport> {
  const found = "folder" in place ? await readSweepFolder(place.folder) : await readSweep(place.dir, place.sweepId);
  const { results, documents, gram, open } = found;
  const folder = to ?? found.folder;
  const { files, missing } = await writeWholeReport(folder, results, { documents, gram, open });
  return { folder, files, missing, open, results };
}
