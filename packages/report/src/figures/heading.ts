import * as Plot from "@observablehq/plot";
import type { Sheet } from "./sheet.js";

/** Lines of words above the frame, wrapped to the sheet. */
export interface Heading {
  height: number; // pixels, with a little air below
  marks(margins: { left: number; top: number }): Plot.Markish[];
}

function wrapped(sheet: Sheet, text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && sheet.textWidth(`${last} ${word}`) <= sheet.width - 8)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Beginning at the top of the sheet; each text on lines of its own. */
export function heading(sheet: Sheet, texts: readonly string[]): Heading {
  const lines = texts.flatMap((text) => wrapped(sheet, text));
  const lineHeight = sheet.lineHeight + 2;
  return {
    height: lines.length * lineHeight + 14,
    marks: ({ left, top }) =>
      lines.map((line, index) =>
        Plot.text([line], {
          ...{ frameAnchor: "top-left", textAnchor: "start", lineAnchor: "middle" },
          ...{ dx: 4 - left, dy: (index + 0.5) * lineHeight + 2 - top },
        }),
      ),
  };
}
