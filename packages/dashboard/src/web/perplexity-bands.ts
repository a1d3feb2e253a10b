import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { documentRows, heldOut, perplexityByTau } from "@bora/analysis";
import type { SweepResults } from "@bora/contracts";
import type { Figures } from "./page-api.js";

const mostDocuments = 100_000; // read for the intervals of one figure: more take seconds

/**
 * The figure of tau with its intervals, of a sweep that has ended; computed once a sweep. Null where the documents are
 * not there or are too many: then the figure has none.
 */
export function perplexityBands(dir: string): (results: SweepResults) => Promise<Figures["perplexity"]> {
  const known = new Map<string, { results: SweepResults; figure: Promise<Figures["perplexity"]> }>();
  return (results) => {
    const before = known.get(results.sweepId);
    if (before?.results === results) return before.figure;
    const figure = figureOf(join(dir, results.sweepId), results).catch(() => null);
    known.set(results.sweepId, { results, figure });
    return figure;
  };
}

async function figureOf(folder: string, results: SweepResults): Promise<Figures["perplexity"]> {
  const done = results.trials.filter(({ state }) => state === "done");
  const perTrial = results.data.tasks.reduce((sum, { documents }) => sum + documents.test, 0);
  if (perTrial * done.length > mostDocuments) return null;
  const rows = await Promise.all(
    done.map(async ({ id, tau, seed }) => {
      const text = await readFile(join(folder, "trials", id, "documents.jsonl"), "utf8");
      return documentRows(text, { id, tau, seed });
    }),
  );
  return perplexityByTau(results, heldOut(rows.flat(), "test"));
}
