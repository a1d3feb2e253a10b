import type { SweepComparison } from "@bora/analysis";
import * as Plot from "@observablehq/plot";
import { endLabels, labelRoom } from "./end-labels.js";
import { heading } from "./heading.js";
import { draw, sheetOf, type FigureOptions, type Sheet, type Size } from "./sheet.js";
import { readableTicks, tauAxis } from "./tau-axis.js";

const lookOf = [
  { accent: null, dash: "" },
  { accent: "low", dash: "" },
  { accent: "high", dash: "6 3" },
  { accent: "mark", dash: "2 3" },
] as const;

/** What every sweep reached at its taus, and how its line looks. */
const pointsOf = (sheet: Sheet, sweeps: SweepComparison["sweeps"]) =>
  sweeps.flatMap(({ label, tau, byTau }, place) => {
    const { accent, dash } = lookOf[place % lookOf.length] ?? lookOf[0];
    const color = accent === null ? "currentColor" : sheet.color(accent);
    return byTau.map((point) => ({ place, label, color, dash, best: point.tau === tau, ...point }));
  });

/** A line a sweep: what it reached on its own test documents at each tau, its best (by validation) as a dot. */
export function sweepsByTau({ sweeps, unit }: SweepComparison, options: FigureOptions = {}): Element {
  const sheet = sheetOf(options);
  const title = heading(sheet, [`${unit} on test, macro over tasks; lower is better`]);
  const room = labelRoom(
    sheet,
    sweeps.map(({ label }) => label),
  );
  const size: Size = {
    height: title.height + (sheet.narrow ? 290 : 340),
    top: title.height,
    bottom: 62,
    left: 48,
    right: room,
  };
  const area = [size.top, size.height - size.bottom] as const;
  const axis = tauAxis(sweeps.flatMap(({ byTau }) => byTau.map(({ tau }) => tau)));
  const at = (tau: number) => axis.find((tick) => tick.tau === tau)?.at ?? NaN;
  const [left, right] = [axis[0]?.at ?? 0, axis.at(-1)?.at ?? 0];
  const margin = 0.04 * (right - left || 1);
  const domain: [number, number] = [left - margin, right + margin];
  const widest = Math.max(...axis.flatMap(({ label }) => label.split("\n").map(sheet.textWidth)));
  const shown = readableTicks(axis, ((widest + 8) * (domain[1] - domain[0])) / (sheet.width - size.left - size.right));
  const points = pointsOf(sheet, sweeps);
  const values = points.map(({ value }) => value);
  const air = 0.08 * (Math.max(...values) - Math.min(...values) || Math.abs(values[0] ?? 1) || 1);
  const range: [number, number] = [Math.min(...values) - air, Math.max(...values) + air];
  const perPixel = (range[1] - range[0]) / (area[1] - area[0]);
  const wanted = sweeps.map(({ label }, place) => {
    const last = points.findLast((point) => point.place === place);
    return {
      text: label,
      first: true,
      y: area[0] + (range[1] - (last?.value ?? 0)) / perPixel,
      color: last?.color ?? "currentColor",
    };
  });
  return draw(sheet, size, {
    ariaLabel: `Sweeps against tau, in ${unit}`,
    x: { domain, axis: null },
    y: { domain: range, axis: null },
    marks: [
      ...title.marks(size),
      Plot.gridY({ ticks: 6, strokeOpacity: 0.12 }),
      Plot.axisY({ label: null, ticks: 6, tickSize: 0 }),
      Plot.axisX(
        shown.map((tick) => tick.at),
        {
          ...{ label: null, lineHeight: 1.3 },
          tickFormat: (place: number) => axis.find((tick) => tick.at === place)?.label ?? "",
        },
      ),
      Plot.text(["prior precision τ (nats)"], { frameAnchor: "bottom", dy: size.bottom - 8 }),
      ...sweeps.map((_, place) => {
        const own = points.filter((point) => point.place === place);
        const { color = "currentColor", dash = "" } = own[0] ?? {};
        return Plot.line(own, {
          x: ({ tau }: { tau: number }) => at(tau),
          y: "value",
          stroke: color,
          strokeWidth: 2.5,
          ...(dash === "" ? {} : { strokeDasharray: dash }),
        });
      }),
      Plot.dot(
        points.filter(({ best }) => best),
        { x: ({ tau }) => at(tau), y: "value", r: 5, fill: "color" },
      ),
      Plot.text(endLabels(sheet, wanted, area, room), {
        ...{
          text: "text",
          x: () => domain[1],
          y: ({ y }: { y: number }) => range[1] - (y - area[0]) * perPixel,
          fill: "color",
        },
        ...{ dx: 6, textAnchor: "start" },
      }),
    ],
  });
}
