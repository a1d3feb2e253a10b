import type { PerplexityHeat } from "@bora/analysis";
import { formatTau } from "@bora/contracts/tau";
import * as Plot from "@observablehq/plot";
import { heading } from "./heading.js";
import { legend } from "./legend.js";
import { draw, sheetOf, type FigureOptions, type Sheet, type Size } from "./sheet.js";
import { fitText } from "./text-width.js";

const strongest = 0.62; // opacity at which text in a cell can still be read, on white and on black

interface Cell {
  column: number;
  row: number;
  text: string;
  color: string;
  opacity: number;
}

function cellsOf(sheet: Sheet, data: PerplexityHeat): Cell[] {
  const all = data.tasks.flatMap(({ cells }, row) => cells.map((cell) => ({ ...cell, row })));
  const farthest = Math.max(1, ...all.map(({ percent }) => Math.abs(Math.log1p(percent / 100)))) || 1;
  const scale = Math.min(farthest, Math.max(0.02, ...all.map(({ percent }) => Math.abs(Math.log1p(percent / 100)))));
  return all.map(({ tau, perplexity, percent, row }) => ({
    ...{ column: data.taus.indexOf(tau), row },
    text: perplexity >= 1000 ? perplexity.toPrecision(2) : perplexity.toPrecision(3),
    color: sheet.color(percent < 0 ? "low" : "high"),
    opacity: strongest * Math.sqrt(Math.min(1, Math.abs(Math.log1p(percent / 100)) / scale)),
  }));
}

/** Names of taus under the columns, those that fit; both ends first. */
function columnNames(sheet: Sheet, { taus }: PerplexityHeat, width: number): { column: number; text: string }[] {
  const widest = Math.max(...taus.map((tau) => sheet.textWidth(formatTau(tau)))) + 6;
  const every = Math.max(1, Math.ceil(widest / width));
  const last = taus.length - 1;
  return taus.flatMap((tau, column) =>
    column === last || (column % every === 0 && last - column >= every) ? [{ column, text: formatTau(tau) }] : [],
  );
}

/**
 * Test perplexity of every task (largest first) at every tau: blue below the task's mean over the taus, vermillion
 * above; the tau that validation chose for all is named.
 */
export function perplexityHeatMap(data: PerplexityHeat, options: FigureOptions = {}): Element {
  const sheet = sheetOf(options);
  const title = heading(sheet, ["test perplexity by task (largest first) and prior precision τ (nats)"]);
  const key = legend(sheet, [
    { text: "below the task's mean", color: sheet.color("low"), symbol: "square" },
    { text: "above it", color: sheet.color("high"), symbol: "square" },
  ]);
  const rowHeight = data.tasks.length > 40 ? 15 : 22;
  const names = data.tasks.map(({ name }) => sheet.textWidth(name));
  const left = Math.ceil(Math.min(Math.max(...names) + 12, sheet.width * 0.32));
  const top = title.height + key.height;
  const size: Size = { height: top + data.tasks.length * rowHeight + 38, top, bottom: 38, left, right: 8 };
  const width = Math.min(90, (sheet.width - size.left - size.right) / data.taus.length);
  const right = sheet.width - size.left - width * data.taus.length;
  const cells = cellsOf(sheet, data);
  const readable = Math.max(0, ...cells.map(({ text }) => sheet.textWidth(text))) + 4 <= width;
  const best = data.best === null ? -1 : data.taus.indexOf(data.best);
  const chosen = best < 0 ? [] : [{ x1: best, x2: best + 1, y1: 0, y2: data.tasks.length }];
  return draw(
    sheet,
    { ...size, right },
    {
      ariaLabel: "Test perplexity of every task at every tau",
      x: { type: "linear", domain: [0, data.taus.length], axis: null },
      y: { type: "linear", domain: [data.tasks.length, 0], axis: null },
      marks: [
        ...title.marks(size),
        ...key.marks(size, title.height),
        Plot.rect(cells, {
          ...{ x1: "column", x2: ({ column }: Cell) => column + 1, y1: "row", y2: ({ row }: Cell) => row + 1 },
          ...{ fill: "color", fillOpacity: "opacity", inset: 0.5 },
        }),
        readable
          ? Plot.text(cells, { x: ({ column }: Cell) => column + 0.5, y: ({ row }: Cell) => row + 0.5, text: "text" })
          : null,
        Plot.text(data.tasks, {
          ...{ x: 0, y: (_: unknown, row: number) => row + 0.5, dx: -6, textAnchor: "end" },
          text: ({ name }) => fitText(name, left - 10, sheet.fontSize),
        }),
        Plot.text(columnNames(sheet, data, width), {
          x: ({ column }) => column + 0.5,
          y: data.tasks.length,
          text: "text",
          dy: 12,
        }),
        Plot.rect(chosen, { x1: "x1", x2: "x2", y1: "y1", y2: "y2", stroke: "currentColor", strokeWidth: 1.5 }),
        Plot.text(chosen, { x: ({ x1 }) => x1 + 0.5, y: "y2", text: () => "best on validation", dy: 27 }),
      ],
    },
  );
}
