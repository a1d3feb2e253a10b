import { SweepResults } from "@bora/contracts";

const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : a > b ? 1 : 0);

/** Keys sorted at every depth: what came from a file, a program or the store is written alike. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(byName)
      .map(([key, part]) => [key, sorted(part)]),
  );
}

/** JSON has no infinity; any other number that is none is a fault of ours. */
function finite(key: string, value: unknown): unknown {
  if (value === Infinity) return "inf";
  if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError(`${key} is ${value}`);
  return value;
}

// A list of numbers alone, as JSON.stringify lays it out: a curve of 400 points is a line, not 400. No string holds a
// line break, so nothing within one looks like it.
const numbers = /\[\n\s+-?\d[\d.e+-]*(?:,\n\s+-?\d[\d.e+-]*)*\n\s+\]/g;

/** The text of results.json: keys in the order of its schema, infinity as "inf"; the same results, the same bytes. */
export function resultsJson(results: SweepResults): string {
  const { experiment, versions, ...rest } = results;
  const parsed = SweepResults.parse({ ...rest, experiment: sorted(experiment), versions: sorted(versions) });
  return `${JSON.stringify(parsed, finite, 2).replaceAll(numbers, (list) => list.replaceAll(/\s+/g, " "))}\n`;
}
