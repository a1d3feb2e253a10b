import * as Plot from "@observablehq/plot";
import { logTicks } from "./log-ticks.js";

/** A logarithmic vertical axis over pixels, so that marks and labels can be placed by hand beside it. */
export interface LogScale {
  domain: [number, number];
  /** Pixels from the top of the sheet. */
  at(value: number): number;
  /** The value at so many pixels from the top. */
  valueAt(pixels: number): number;
  marks: Plot.Markish[]; // grid and ticks
}

const margin = 1.06;

// Math.min and Math.max take their values as arguments, of which a hundred thousand are too many.
export const lowest = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);
export const highest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity);

export function logScale(values: readonly number[], [top, bottom]: readonly [number, number]): LogScale {
  const shown = values.filter((value) => Number.isFinite(value) && value > 0);
  const [least, most] = [lowest(shown), highest(shown)];
  const factor = Math.max(margin, (most / least) ** 0.04);
  const domain: [number, number] = [least / factor, most * factor];
  const perPixel = Math.log(domain[1] / domain[0]) / (bottom - top);
  const ticks = logTicks(...domain);
  return {
    domain,
    at: (value) => top + Math.log(domain[1] / value) / perPixel,
    valueAt: (pixels) => domain[1] * Math.exp((top - pixels) * perPixel),
    marks: [
      Plot.gridY(ticks, { strokeOpacity: 0.12 }),
      // Plot's own axis leaves out labels of a logarithmic scale by a rule of its own.
      Plot.text(ticks, { y: (tick: number) => tick, frameAnchor: "left", textAnchor: "end", dx: -8, text: String }),
    ],
  };
}
