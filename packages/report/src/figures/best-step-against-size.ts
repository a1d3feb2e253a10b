import type { BestSteps } from "@bora/analysis";
import { formatTau } from "@bora/contracts/tau";
import * as Plot from "@observablehq/plot";
import { heading } from "./heading.js";
import { legend } from "./legend.js";
import { draw, ground, sheetOf, type FigureOptions, type Size } from "./sheet.js";
import { sizeAxis } from "./size-axis.js";
import { tauColors } from "./tau-color.js";

const symbols = ["circle", "diamond", "square"] as const;

/** At which step each task's own validation was best, against its training tokens: what is small overfits early. */
export function bestStepAgainstSize(data: BestSteps, options: FigureOptions = {}): Element {
  const sheet = sheetOf(options);
  const title = heading(sheet, ["step of the task's lowest validation nats"]);
  const colors = tauColors(data.taus);
  const lookOf = (tau: number) => {
    const place = data.taus.indexOf(tau);
    return {
      color: colors.get(tau) ?? "currentColor",
      symbol: symbols[place % symbols.length] ?? "circle",
      hollow: place > 0,
    };
  };
  const key = legend(
    sheet,
    data.taus.map((tau) => ({ text: `τ = ${formatTau(tau)}`, ...lookOf(tau) })),
  );
  const top = title.height + key.height;
  const size: Size = { height: top + (sheet.narrow ? 260 : 320), top, bottom: 48, left: 48, right: 16 };
  const axis = sizeAxis(
    sheet,
    size,
    data.points.map(({ trainTokens }) => trainTokens),
  );
  const most = Math.max(1, data.lastStep, ...data.points.map(({ step }) => step));
  return draw(sheet, size, {
    ariaLabel: "Best step of each task against training size",
    x: { type: "log", domain: axis.domain, axis: null },
    y: { domain: [0, most * 1.06], axis: null },
    marks: [
      ...title.marks(size),
      ...key.marks(size, title.height),
      Plot.gridY({ ticks: 6, strokeOpacity: 0.12 }),
      Plot.axisY({ label: null, ticks: 6, tickSize: 0 }),
      ...axis.marks,
      ...data.taus.map((tau) => {
        const { color, symbol, hollow } = lookOf(tau);
        const own = data.points.filter((point) => point.tau === tau);
        return Plot.dot(own, {
          ...{ x: "trainTokens", y: "step", r: 4.5, symbol, stroke: color, strokeWidth: 1.8 },
          fill: hollow ? ground(sheet) : color,
          fillOpacity: hollow ? 0.5 : 1,
        });
      }),
    ],
  });
}
