import { parseHTML } from "linkedom";
import { ink, type FigureOptions } from "./figures/sheet.js";

/** A figure's definition. */
export type DrawFigure<Data> = (data: Data, options: FigureOptions) => Element;

/** Draws a figure without a browser, as SVG text. On paper every colour is said: not all readers know currentColor. */
export function figureSvg<Data>(
  figure: DrawFigure<Data>,
  data: Data,
  options: Omit<FigureOptions, "document"> = {},
): string {
  const { document } = parseHTML("<html><body></body></html>");
  const svg = figure(data, { ...options, document }).outerHTML;
  return options.theme === "paper" ? svg.replaceAll("currentColor", ink) : svg;
}
