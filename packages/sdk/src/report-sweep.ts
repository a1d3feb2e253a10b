import type { SweepResults } from "@bora/contracts";
import { writeWholeReport, type WrittenReport } from "@bora/report";
import { readPlace, type SweepPlace } from "./read-sweep.js";

/** Which files a report is made of, which could not be made and why, and the results they show. */
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
  const found = await readPlace(place);
  const { results, documents, gram, open } = found;
  const folder = to ?? found.folder;
  const { files, missing } = await writeWholeReport(folder, results, { documents, gram, open });
  return { folder, files, missing, open, results };
}
