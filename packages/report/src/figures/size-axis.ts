import * as Plot from "@observablehq/plot";
import { logTicks } from "./log-ticks.js";
import type { Sheet, Size } from "./sheet.js";

/** The logarithmic axis of training tokens, with pixels for what is placed by hand. */
export interface SizeAxis {
  domain: [number, number];
  at(tokens: number): number; // pixels on the sheet
  marks: Plot.Markish[];
}

const short = (tokens: number): string =>
  tokens >= 1000 ? `${Number((tokens / 1000).toPrecision(3))}k` : String(tokens);

export function sizeAxis(sheet: Sheet, size: Size, tokens: readonly number[]): SizeAxis {
  const [least, most] = [Math.max(1, Math.min(...tokens)), Math.max(1, ...tokens)];
  const factor = Math.max(1.25, (most / least) ** 0.06);
  const domain: [number, number] = [least / factor, most * factor];
  const width = sheet.width - size.left - size.right;
  const at = (value: number) =>
    size.left + (width * Math.log(Math.max(1, value) / domain[0])) / Math.log(domain[1] / domain[0]);
  const room = Math.max(...logTicks(...domain).map((tick) => sheet.textWidth(short(tick)))) + 14;
  const ticks = logTicks(...domain).reduce<number[]>((kept, tick) => {
    const before = kept.at(-1);
    return before === undefined || at(tick) - at(before) >= room ? [...kept, tick] : kept;
  }, []);
  return {
    domain,
    at,
    marks: [
      // Plot's own axis leaves out labels of a logarithmic scale by a rule of its own.
      Plot.gridX(ticks, { strokeOpacity: 0.12 }),
      Plot.text(ticks, { x: (tick: number) => tick, frameAnchor: "bottom", lineAnchor: "top", dy: 8, text: short }),
      Plot.text(["training tokens of the task (logarithmic)"], { frameAnchor: "bottom", dy: size.bottom - 8 }),
    ],
  };
}
