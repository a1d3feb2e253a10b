import Table from "cli-table3";

/** A plain table; `align` has l or r for each column. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], align: string): string {
  const grid = new Table({
    head: [...head],
    colAligns: [...align].map((side) => (side === "r" ? "right" : "left")),
    style: { head: [], border: [], compact: true },
    chars: {
      ...{ top: "", "top-mid": "", "top-left": "", "top-right": "" },
      ...{ bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" },
      ...{ left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: " " },
    },
  });
  grid.push(...rows.map((row) => [...row]));
  return grid
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
