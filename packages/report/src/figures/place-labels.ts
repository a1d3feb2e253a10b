import * as Plot from "@observablehq/plot";
import type { Sheet, Size } from "./sheet.js";
import { fitText } from "./text-width.js";

export interface LabelledPoint {
  text: string;
  x: number; // pixels on the sheet
  y: number;
  r: number; // radius of its dot
}

export interface PlacedLabel {
  text: string;
  x: number;
  y: number; // of its middle
  anchor: "start" | "middle" | "end";
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

const overlap = (a: Box, b: Box): boolean =>
  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

const sides = [
  { anchor: "start", x: 1, y: 0 },
  { anchor: "end", x: -1, y: 0 },
  { anchor: "middle", x: 0, y: -1 },
  { anchor: "middle", x: 0, y: 1 },
  { anchor: "start", x: 0.8, y: -0.8 },
  { anchor: "start", x: 0.8, y: 0.8 },
  { anchor: "end", x: -0.8, y: -0.8 },
  { anchor: "end", x: -0.8, y: 0.8 },
] as const;

function boxOf({ text, x, y, anchor }: PlacedLabel, sheet: Sheet): Box {
  const width = sheet.textWidth(text);
  const left = anchor === "start" ? x : anchor === "end" ? x - width : x - width / 2;
  return { left: left - 2, right: left + width + 2, top: y - sheet.lineHeight / 2, bottom: y + sheet.lineHeight / 2 };
}

/**
 * Names beside points, first come first served, each on the first side where it covers no point, no other name and
 * nothing in `taken`, within the area; those that find none are left out.
 */
export function placeLabels(
  sheet: Sheet,
  points: readonly LabelledPoint[],
  area: Box,
  taken: readonly Box[] = [],
): PlacedLabel[] {
  const dots = points.map(({ x, y, r }) => ({ left: x - r, right: x + r, top: y - r, bottom: y + r }));
  const boxes: Box[] = [...taken];
  return points.flatMap(({ text: whole, x, y, r }) => {
    const text = fitText(whole, (area.right - area.left) * 0.4, sheet.fontSize);
    for (const side of sides) {
      const up = side.x === 0 ? r + 2 + sheet.lineHeight / 2 : (r + 2 + sheet.lineHeight / 4) * Math.abs(side.y);
      const label: PlacedLabel = { text, x: x + side.x * (r + 4), y: y + Math.sign(side.y) * up, anchor: side.anchor };
      const box = boxOf(label, sheet);
      const inside =
        box.left >= area.left && box.right <= area.right && box.top >= area.top && box.bottom <= area.bottom;
      if (!inside || boxes.some((other) => overlap(box, other)) || dots.some((dot) => overlap(box, dot))) continue;
      boxes.push(box);
      return [label];
    }
    return [];
  });
}

/** Marks of labels placed on the sheet. */
export const labelMarks = (labels: readonly PlacedLabel[], { left, top }: Size): Plot.Markish[] =>
  labels.map(({ text, x, y, anchor }) =>
    Plot.text([text], {
      frameAnchor: "top-left",
      dx: x - left,
      dy: y - top,
      textAnchor: anchor,
      lineAnchor: "middle",
      fillOpacity: 0.75,
    }),
  );

/** The frame of a figure on its sheet. */
export const frameOf = (sheet: Sheet, { height, top, right, bottom, left }: Size) => ({
  left,
  right: sheet.width - right,
  top,
  bottom: height - bottom,
});
