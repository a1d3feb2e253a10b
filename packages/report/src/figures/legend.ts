import * as Plot from "@observablehq/plot";
import type { Sheet } from "./sheet.js";

export interface LegendItem {
  text: string;
  color: string;
  symbol?: "circle" | "square" | "diamond" | "triangle";
  hollow?: boolean;
}

const gap = 18; // pixels between items
const swatch = 14;

/** A line, or several where they do not fit, of what the signs mean, above the plot. */
export interface Legend {
  height: number; // pixels
  /** `from`: pixels from the top of the sheet. */
  marks(margins: { left: number; top: number }, from?: number): Plot.Markish[];
}

export function legend(sheet: Sheet, items: readonly LegendItem[]): Legend {
  let [x, row] = [0, 0];
  const placed = items.map((item) => {
    const width = swatch + sheet.textWidth(item.text);
    if (x > 0 && x + width > sheet.width - 8) [x, row] = [0, row + 1];
    const at = { ...item, x, row };
    x += width + gap;
    return at;
  });
  const height = (row + 1) * (sheet.lineHeight + 4) + 8;
  return {
    height,
    marks: ({ left, top }, above = 0) =>
      placed.flatMap(({ text, color, symbol = "circle", hollow = false, x: from, row: line }) => {
        const [dx, dy] = [from + 4 - left, above + (line + 0.5) * (sheet.lineHeight + 4) - top];
        return [
          Plot.dot([0], {
            ...{ frameAnchor: "top-left", dx: dx + 4, dy, r: 4, symbol, stroke: color, strokeWidth: 1.5 },
            fill: hollow ? "none" : color,
          }),
          Plot.text([text], {
            frameAnchor: "top-left",
            textAnchor: "start",
            lineAnchor: "middle",
            dx: dx + swatch,
            dy,
          }),
        ];
      }),
  };
}
