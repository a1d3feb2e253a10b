import { compareSweeps, type SweepComparison, type SweepSide } from "@bora/analysis";
import { BoraError, parseExperiment } from "@bora/contracts";
import { comparisonWords, writeComparison } from "@bora/report";
import { readPlace, type StoredSweep, type SweepPlace } from "./read-sweep.js";

/** A comparison's files, its findings in sentences, and its numbers (nats per token, or bits per character). */
export interface WrittenComparison {
  folder: string;
  files: string[];
  words: string[];
  comparison: SweepComparison;
}

/** By the experiment's name; with the sweep's id, and its folder, where that says not which. */
function labels(sweeps: readonly StoredSweep[]): string[] {
  const names = sweeps.map(({ results }) => parseExperiment(results.experiment).name);
  const ids = sweeps.map(({ results }) => results.sweepId);
  const once = (texts: readonly string[], place: number) => texts.filter((text) => text === texts[place]).length === 1;
  return sweeps.map(({ folder }, place) =>
    once(names, place)
      ? (names[place] ?? "")
      : once(ids, place)
        ? (ids[place] ?? "")
        : `${ids[place] ?? ""} (${folder})`,
  );
}

/**
 * Holds two or more sweeps against the first and writes page, figures and tables into `to`. Throws usage, and what
 * reading a sweep throws.
 */
export async function compareStoredSweeps(places: readonly SweepPlace[], to: string): Promise<WrittenComparison> {
  if (places.length < 2)
    throw new BoraError(
      "usage",
      `compare was given ${places.length} sweep${places.length === 1 ? "" : "s"}; expected two or more`,
      {
        hint: "name sweeps of --out by their ids, others by the path of their folder",
      },
    );
  const sweeps: StoredSweep[] = [];
  for (const place of places) sweeps.push(await readPlace(place));
  const folders = new Set(sweeps.map(({ folder }) => folder));
  if (folders.size < sweeps.length)
    throw new BoraError("usage", `${sweeps.length} sweeps were named, but only ${folders.size} different ones`, {
      hint: "a sweep against itself differs by nothing",
    });
  const names = labels(sweeps);
  const sides = sweeps.map(({ results, documents }, place): SweepSide => ({
    label: names[place] ?? "",
    results,
    documents,
  }));
  const comparison = compareSweeps(sides);
  return { folder: to, files: await writeComparison(to, comparison), words: comparisonWords(comparison), comparison };
}
