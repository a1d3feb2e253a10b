// Advance widths of DejaVu Sans in thousandths of an em, U+0020 to U+007E. It is wider than the usual screen fonts, so
// what does not overlap by these numbers does not overlap on a page either.
const ascii = [
  318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636,
  636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863,
  748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635,
  615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636,
  337, 636, 838,
];
const otherLetter = 700; // Latin with marks, Greek, Cyrillic
const wide = 1000; // signs, and scripts written in squares

function emOf(character: string): number {
  const code = character.codePointAt(0) ?? 0;
  return ascii[code - 32] ?? (code < 0x530 ? otherLetter : wide);
}

/** Width of a line of text in pixels at a font size. */
export const textWidth = (text: string, fontSize: number): number =>
  ([...text].reduce((sum, character) => sum + emOf(character), 0) * fontSize) / 1000;

/** The text, or as much of its beginning as fits with an ellipsis. */
export function fitText(text: string, width: number, fontSize: number): string {
  if (textWidth(text, fontSize) <= width) return text;
  const kept = [...text];
  while (kept.length > 1 && textWidth(`${kept.join("")}…`, fontSize) > width) kept.pop();
  return `${kept.join("").trimEnd()}…`;
}
