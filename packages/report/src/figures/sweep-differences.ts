import type { SweepComparison } from "@bora/analysis";
import * as Plot from "@observablehq/plot";
import { heading } from "./heading.js";
import { draw, sheetOf, type FigureOptions, type Size } from "./sheet.js";
import { fitText } from "./text-width.js";

const rowHeight = 30;
const signed = (value: number): string => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(3)}`;

const words = ({ difference, low, high }: { difference: number; low: number; high: number }): string =>
  `${signed(difference)} (${signed(low)} to ${signed(high)})`;

/** Each sweep against the first, with its paired 95 % interval; left of 0 it is better. `differences` must hold one. */
export function sweepDifferences({ sweeps, differences, unit }: SweepComparison, options: FigureOptions = {}): Element {
  const sheet = sheetOf(options);
  const title = heading(sheet, [
    `${unit} against ${sweeps[0]?.label ?? "the first"}, with 95 % intervals; left of 0 is better`,
  ]);
  const left = Math.ceil(
    Math.min(sheet.width * 0.34, Math.max(...differences.map(({ label }) => sheet.textWidth(label))) + 16),
  );
  const size: Size = {
    height: title.height + differences.length * rowHeight + 28,
    top: title.height,
    bottom: 28,
    left,
    right: sheet.narrow ? 14 : Math.ceil(Math.max(...differences.map((own) => sheet.textWidth(words(own))))) + 14,
  };
  const ends = [0, ...differences.flatMap(({ low, high }) => [low, high])];
  const air = 0.06 * (Math.max(...ends) - Math.min(...ends) || 1);
  const domain: [number, number] = [Math.min(...ends) - air, Math.max(...ends) + air];
  const ticks = Math.max(2, Math.floor((sheet.width - size.left - size.right) / 80));
  const y = (_: unknown, row: number) => row + 0.5;
  return draw(sheet, size, {
    ariaLabel: "Differences between sweeps, with intervals",
    x: { domain, axis: null },
    y: { type: "linear", domain: [differences.length, 0], axis: null },
    marks: [
      ...title.marks(size),
      Plot.gridX({ ticks, strokeOpacity: 0.12 }),
      Plot.ruleX([0], { strokeOpacity: 0.6 }),
      Plot.axisX({ label: null, ticks }),
      Plot.text(differences, {
        x: domain[0],
        y,
        dx: -8,
        textAnchor: "end",
        text: ({ label }) => fitText(label, left - 12, sheet.fontSize),
      }),
      Plot.ruleY(differences, { x1: "low", x2: "high", y, stroke: sheet.color("low"), strokeWidth: 2.5 }),
      Plot.dot(differences, { x: "difference", y, r: 5, fill: sheet.color("low") }),
      sheet.narrow
        ? null
        : Plot.text(differences, {
            ...{ x: domain[1], y, dx: 10, textAnchor: "start" },
            text: words,
          }),
    ],
  });
}
