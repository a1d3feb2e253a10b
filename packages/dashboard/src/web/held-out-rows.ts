import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { documentRows } from "@bora/analysis";
import type { DocumentRow, SweepResults } from "@bora/contracts";

const mostDocuments = 100_000; // read for the intervals of one view: more take seconds

/**
 * The held-out documents of a sweep's finished trials, from the files that the trainer scored; null when they are more
 * than a view waits for. Rejects where a file is not there.
 */
export async function heldOutRows(folder: string, results: SweepResults): Promise<DocumentRow[] | null> {
  const done = results.trials.filter(({ state }) => state === "done");
  const perTrial = results.data.tasks.reduce((sum, { documents }) => sum + documents.test, 0);
  if (perTrial * done.length > mostDocuments) return null;
  const rows = await Promise.all(
    done.map(async ({ id, tau, seed }) =>
      documentRows(await readFile(join(folder, "trials", id, "documents.jsonl"), "utf8"), { id, tau, seed }),
    ),
  );
  return rows.flat();
}
