/** One line of the table: what was measured, and the bound that it has to hold, where it has one. */
export interface Figure {
  what: string;
  measured: string;
  bound: string; // in words; empty: told, not judged
  holds: boolean;
}

/** The figures of one part on one store, or why it was left out. */
export type Part = { name: string; store: string } & ({ figures: Figure[] } | { skipped: string });

export const told = (what: string, measured: string): Figure => ({ what, measured, bound: "", holds: true });

/** A number that may be as large as its bound. */
export function atMost(what: string, value: number, most: number, unit: string): Figure {
  const words = (number: number) => `${number.toLocaleString("en-US", { maximumFractionDigits: 1 })} ${unit}`;
  return { what, measured: words(value), bound: `<= ${words(most)}`, holds: value <= most };
}

/** A number that has to be another. */
export function equals(what: string, value: number, expected: number): Figure {
  const words = (number: number) => number.toLocaleString("en-US");
  return { what, measured: words(value), bound: words(expected), holds: value === expected };
}

/** The smallest value that a share of all values does not exceed (nearest rank). Throws RangeError without values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (found === undefined) throw new RangeError("a quantile of no values");
  return found;
}

/**
 * How memory went over a run, from samples at even times: the median of the last third against that of the second, once
 * the first third has warmed it up. A median, because a collector lets memory rise and fall between two samples.
 */
export function growth(samples: readonly number[]): number {
  const third = Math.floor(samples.length / 3);
  if (third === 0) throw new RangeError(`${samples.length} samples say nothing of growth`);
  return quantile(samples.slice(-third), 0.5) - quantile(samples.slice(-2 * third, -third), 0.5);
}

/** The table of docs/reliability.md: a row a figure, a column a store. */
export function table(parts: readonly Part[]): string {
  const stores = [...new Set(parts.map(({ store }) => store))];
  const head = ["", ...stores, "bound"];
  const lines = [head, head.map((_, column) => (column === 0 || column === stores.length + 1 ? "---" : "---:"))];
  for (const name of new Set(parts.map((part) => part.name))) {
    lines.push([`**${name}**`, ...stores.map(() => ""), ""]);
    const measured = parts.filter((part) => part.name === name && "figures" in part);
    for (const what of new Set(
      measured.flatMap((part) => ("figures" in part ? part.figures.map((one) => one.what) : [])),
    )) {
      const cells = stores.map((store) => figureOf(parts, name, store, what));
      lines.push([
        what,
        ...cells.map((cell) => (cell === null ? "" : cellOf(cell))),
        cells.find((cell) => cell)?.bound ?? "",
      ]);
    }
  }
  const left = parts.flatMap((part) =>
    "skipped" in part ? [`Not done here: ${part.name} on ${part.store} (${part.skipped}).`] : [],
  );
  return [...lines.map((row) => `| ${row.join(" | ")} |`), ...(left.length > 0 ? ["", ...left] : [])].join("\n");
}

const cellOf = ({ measured, holds }: Figure): string => (holds ? measured : `${measured} (missed)`);

function figureOf(parts: readonly Part[], name: string, store: string, what: string): Figure | null {
  const part = parts.find((one) => one.name === name && one.store === store);
  return (part !== undefined && "figures" in part ? part.figures.find((one) => one.what === what) : null) ?? null;
}

/** Figures that miss their bound. */
export const missed = (parts: readonly Part[]): string[] =>
  parts.flatMap((part) =>
    "figures" in part
      ? part.figures
          .filter(({ holds }) => !holds)
          .map((one) => `${part.name}, ${part.store}: ${one.what} ${one.measured}, bound ${one.bound}`)
      : [],
  );
