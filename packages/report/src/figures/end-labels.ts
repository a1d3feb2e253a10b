import type { Sheet } from "./sheet.js";
import { spreadLabels } from "./spread-labels.js";
import { fitText } from "./text-width.js";

/** A name at the end of a line: pixels from the top, and how clearly it shows. */
export interface EndLabel {
  text: string;
  y: number;
  color: string;
  opacity: number;
}

export interface WantedLabel {
  text: string;
  y: number; // pixels, where the line ends
  first: boolean; // stays when there are too many to read
  color?: string;
}

/** How wide the names are, up to a share of the sheet. */
export function labelRoom(sheet: Sheet, texts: readonly string[]): number {
  const widest = Math.max(0, ...texts.map((text) => sheet.textWidth(text)));
  return Math.ceil(Math.min(widest + 12, sheet.width * (sheet.narrow ? 0.3 : 0.27)));
}

/** Names moved apart within [top, bottom]; only those that stay when all of them have no room. */
export function endLabels(
  sheet: Sheet,
  wanted: readonly WantedLabel[],
  [top, bottom]: readonly [number, number],
  room: number,
): EndLabel[] {
  const fitting = Math.floor((bottom - 4 - top) / sheet.lineHeight) + 1;
  const first = wanted.length > fitting ? wanted.filter((label) => label.first) : wanted;
  const every = Math.ceil(first.length / Math.max(1, fitting));
  const shown = first.filter((_, index) => index % every === 0);
  return spreadLabels(
    shown.map((label) => ({ label, at: label.y })),
    sheet.lineHeight,
    [top, bottom - 4], // clear of the last tick of the axis below
  ).map(({ label, at }) => ({
    text: fitText(label.text, room - 8, sheet.fontSize),
    y: at,
    color: label.color ?? "currentColor",
    opacity: label.first ? 1 : 0.75,
  }));
}
