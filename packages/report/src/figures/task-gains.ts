import type { GainAgainst, TaskGains } from "@bora/analysis";
import { formatTau } from "@bora/contracts/tau";
import * as Plot from "@observablehq/plot";
import { heading } from "./heading.js";
import { legend } from "./legend.js";
import { draw, ground, sheetOf, type FigureOptions, type Sheet, type Size } from "./sheet.js";
import { fitText } from "./text-width.js";

interface Row extends GainAgainst {
  y: number; // rows from the top
  color: string;
}

const signed = (value: number): string =>
  `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(Math.abs(value) < 10 ? 1 : 0)}`;

const words = ({ percent, low, high }: GainAgainst): string => `${signed(percent)} (${signed(low)} to ${signed(high)})`;

const colorOf = (sheet: Sheet, other: number, place: number): string =>
  sheet.color(other === 0 || (other !== Infinity && place === 0) ? "low" : "high");

/** From the lowest to the highest bound, but not beyond what the estimates make worth seeing. */
function domainOf(rows: readonly GainAgainst[]): [number, number] {
  const farthest = Math.max(5, ...rows.map(({ percent }) => Math.abs(percent)));
  const low = Math.max(-100, -3 * farthest, Math.min(0, ...rows.map((row) => row.low)));
  const high = Math.min(3 * farthest, Math.max(0, ...rows.map((row) => row.high)));
  const margin = 0.03 * (high - low || 1);
  return [low - margin, high + margin];
}

/** A forest plot: for every task the best tau's difference to the ends of the grid, with 95 % intervals; left is better. */
export function taskGains(data: TaskGains, options: FigureOptions = {}): Element {
  const sheet = sheetOf(options);
  const each = data.others.length === 1 ? 18 : 15; // pixels a comparison
  const perTask = each * data.others.length + 6;
  const names = data.tasks.map(({ name }) => name);
  const room = Math.min(sheet.width * (sheet.narrow ? 0.32 : 0.27), Math.max(...names.map(sheet.textWidth)) + 16);
  const key = legend(
    sheet,
    data.others.map((other, place) => ({
      text: `τ = ${formatTau(data.tau)} against τ = ${formatTau(other)}`,
      color: colorOf(sheet, other, place),
      hollow: place === 1,
    })),
  );
  const title = heading(sheet, [
    `% of test perplexity, with 95 % intervals; left of 0, τ = ${formatTau(data.tau)} is better`,
  ]);
  const numbers = data.tasks.flatMap(({ against }) => against.map((own) => sheet.textWidth(words(own))));
  const right = sheet.narrow ? 14 : Math.ceil(Math.max(...numbers)) + 14;
  const top = title.height + key.height;
  const size: Size = {
    height: top + data.tasks.length * perTask + 26,
    top,
    bottom: 26,
    left: Math.ceil(room),
    right,
  };
  const rows = data.tasks.flatMap(({ against }, task) =>
    against.map((own): Row => {
      const place = data.others.indexOf(own.other);
      const y = task * perTask + 3 + each * (place + 0.5);
      return { ...own, y, color: colorOf(sheet, own.other, place) };
    }),
  );
  const ticks = Math.max(2, Math.floor((sheet.width - size.left - right) / 70));
  const domain = domainOf(rows);
  const within = (value: number) => Math.min(Math.max(value, domain[0]), domain[1]);
  const hollow = (row: Row) => data.others.indexOf(row.other) === 1;
  return draw(sheet, size, {
    ariaLabel: "Gain of the best tau by task, with intervals",
    x: { domain, axis: null },
    y: { domain: [data.tasks.length * perTask, 0], axis: null },
    marks: [
      ...title.marks(size),
      ...key.marks(size, title.height),
      Plot.gridX({ ticks, strokeOpacity: 0.12 }),
      Plot.ruleX([0], { strokeOpacity: 0.6 }),
      Plot.axisX({
        label: null,
        ticks,
        tickFormat: (value: number) => signed(value).replace(/\.0$/, ""),
      }),
      Plot.text(data.tasks, {
        ...{ x: domain[0], y: (_: unknown, task: number) => (task + 0.5) * perTask, dx: -8, textAnchor: "end" },
        text: ({ name }) => fitText(name, size.left - 12, sheet.fontSize),
      }),
      Plot.ruleY(rows, {
        x1: (row: Row) => within(row.low),
        x2: (row: Row) => within(row.high),
        y: "y",
        stroke: "color",
        strokeWidth: 2,
      }),
      Plot.dot(rows, {
        x: (row: Row) => within(row.percent),
        y: "y",
        r: 4,
        stroke: "color",
        strokeWidth: 1.5,
        fill: (row: Row) => (hollow(row) ? ground(sheet) : row.color),
      }),
      sheet.narrow
        ? null
        : Plot.text(rows, {
            ...{ x: domain[1], y: "y", dx: 10, textAnchor: "start", fill: "color" },
            text: words,
          }),
    ],
  });
}
