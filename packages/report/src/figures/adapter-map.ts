import type { AdapterPicture } from "@bora/analysis";
import { formatTau } from "@bora/contracts/tau";
import * as Plot from "@observablehq/plot";
import { heading } from "./heading.js";
import { frameOf, labelMarks, placeLabels } from "./place-labels.js";
import { draw, sheetOf, type FigureOptions, type Size } from "./sheet.js";

const share = (value: number): string => `${Math.round(100 * value)} %`;

/**
 * The adapters by the two directions in which their changes of the weights differ most, both axes to one scale; a dot's
 * area goes with the task's training tokens.
 */
export function adapterMap(data: AdapterPicture, options: FigureOptions = {}): Element {
  const sheet = sheetOf(options);
  const [x, y] = data.explained;
  const title = heading(sheet, [
    `adapters at τ = ${formatTau(data.tau)}: across ${share(x)} of their variance, up ${share(y)}; near is alike`,
  ]);
  const size: Size = {
    height: title.height + (sheet.narrow ? 300 : 420),
    top: title.height,
    bottom: 12,
    left: 12,
    right: 12,
  };
  const area = frameOf(sheet, size);
  const spread = (of: (point: { x: number; y: number }) => number) => {
    const values = data.points.map(of);
    return {
      middle: (Math.max(...values) + Math.min(...values)) / 2,
      width: Math.max(...values) - Math.min(...values),
    };
  };
  const [across, up] = [spread((point) => point.x), spread((point) => point.y)];
  const perPixel = 1.3 * Math.max(across.width / (area.right - area.left), up.width / (area.bottom - area.top)) || 1;
  const at = (point: { x: number; y: number }) => ({
    x: (area.left + area.right) / 2 + (point.x - across.middle) / perPixel,
    y: (area.top + area.bottom) / 2 - (point.y - up.middle) / perPixel,
  });
  const most = Math.max(...data.points.map(({ trainTokens }) => trainTokens));
  const points = data.points
    .map((point) => ({ ...point, ...at(point), text: point.name, r: 2.5 + 5.5 * Math.sqrt(point.trainTokens / most) }))
    .toSorted((a, b) => b.r - a.r);
  return draw(sheet, size, {
    ariaLabel: "Map of the adapters",
    x: { type: "linear", domain: [area.left, area.right], axis: null },
    y: { type: "linear", domain: [area.bottom, area.top], axis: null },
    marks: [
      ...title.marks(size),
      Plot.frame({ strokeOpacity: 0.2 }),
      Plot.dot(points, { x: "x", y: "y", r: "r", fill: sheet.color("low"), fillOpacity: 0.75 }),
      ...labelMarks(placeLabels(sheet, points, area), size),
    ],
  });
}
