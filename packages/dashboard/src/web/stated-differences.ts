import { join } from "node:path";
import { compareSweeps, type SweepSide } from "@bora/analysis";
import { BoraError, type SweepResults } from "@bora/contracts";
import { heldOutRows } from "./held-out-rows.js";

const mostKept = 16; // comparisons that stay in memory

/** What `bora compare` says of sweeps, in sentences with intervals. Null where their documents are not there or too many. */
export type StateDifferences = (all: readonly SweepResults[]) => Promise<string[] | null>;

/** Computed once for the same results, since a page that shows them asks every few seconds. */
export function statedDifferences(dir: string): StateDifferences {
  const known = new Map<string, { all: readonly SweepResults[]; words: Promise<string[] | null> }>();
  return (all) => {
    const key = all.map(({ sweepId }) => sweepId).join(",");
    const before = known.get(key);
    if (before?.all.every((results, place) => results === all[place]) === true) return before.words;
    const words = differences(dir, all).catch(() => null);
    const [oldest] = known.keys();
    if (known.size >= mostKept && oldest !== undefined) known.delete(oldest);
    known.set(key, { all, words });
    return words;
  };
}

async function differences(dir: string, all: readonly SweepResults[]): Promise<string[] | null> {
  if (all.length < 2) return [];
  const sides: SweepSide[] = [];
  for (const results of all) {
    const documents = await heldOutRows(join(dir, results.sweepId), results);
    if (documents === null) return null;
    sides.push({ label: results.sweepId, results, documents });
  }
  const { comparisonWords } = await import("@bora/report"); // draws and prints: not needed to serve a page
  try {
    return comparisonWords(compareSweeps(sides));
  } catch (thrown) {
    if (thrown instanceof BoraError) return [thrown.message]; // a sweep without a result
    throw thrown;
  }
}
