import { join } from "node:path";
import { heldOut, perplexityByTau } from "@bora/analysis";
import type { SweepResults } from "@bora/contracts";
import { heldOutRows } from "./held-out-rows.js";
import type { Figures } from "./page-api.js";

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
  const rows = await heldOutRows(folder, results);
  return rows === null ? null : perplexityByTau(results, heldOut(rows, "test"));
}
