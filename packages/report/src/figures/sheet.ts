import * as Plot from "@observablehq/plot";
import { textWidth } from "./text-width.js";

/** How a figure is drawn. */
export interface FigureOptions {
  /** Where its elements are made; the browser's own when left out. */
  document?: Document;
  /** Pixels; the page's column. Below 560 labels are shorter and fewer. */
  width?: number;
  /**
   * page: in the colour and font of the text around it, accents by the CSS variables --bora-low, --bora-high and
   * --bora-mark; paper: black on white in DejaVu Sans, for files that stand alone.
   */
  theme?: "page" | "paper";
}

/** Colours that people with any colour vision tell apart, on white and on black (Okabe and Ito). */
const accents = { low: "#0072b2", high: "#d55e00", mark: "#009e73" } as const;
export type Accent = keyof typeof accents;

/** Of paper. */
export const [ink, white] = ["#1a1a1a", "#ffffff"];
export const paperFont = "DejaVu Sans";

export interface Size {
  height: number;
  top: number; // margins
  right: number;
  bottom: number;
  left: number;
}

/** The paper that a figure is drawn on. Lengths are pixels. */
export interface Sheet {
  width: number;
  narrow: boolean;
  fontSize: number;
  lineHeight: number; // of labels one below the other
  paper: boolean;
  document: Document | undefined;
  color(accent: Accent): string;
  textWidth(text: string): number;
}

/** What is behind the figure. */
export const ground = ({ paper }: Sheet): string => (paper ? white : "var(--bora-ground, Canvas)");

const defaultWidth = 860;
const narrowBelow = 560;
const leastWidth = 280;

export function sheetOf({ document, width = defaultWidth, theme = "page" }: FigureOptions): Sheet {
  const narrow = width < narrowBelow;
  const fontSize = narrow ? 11 : 12;
  return {
    width: Math.max(leastWidth, Math.round(width)),
    ...{ narrow, fontSize, lineHeight: fontSize + 2, paper: theme === "paper", document },
    color: (accent) => (theme === "paper" ? accents[accent] : `var(--bora-${accent}, ${accents[accent]})`),
    textWidth: (text) => textWidth(text, fontSize),
  };
}

/** On paper a ground of its own, and all colours said. Attributes alone: a page may forbid styles. */
function dress(figure: Element, sheet: Sheet, height: number): void {
  figure.querySelector("style")?.remove();
  const attributes = {
    xmlns: "http://www.w3.org/2000/svg", // so that it is a picture on its own, too
    role: "img",
    "font-size": String(sheet.fontSize),
    "font-family": sheet.paper ? paperFont : "inherit",
    ...(sheet.paper ? { color: ink } : {}),
  };
  for (const [name, value] of Object.entries(attributes)) figure.setAttribute(name, value);
  if (!sheet.paper) return;
  const ground = figure.ownerDocument.createElementNS(attributes.xmlns, "rect");
  for (const [name, value] of Object.entries({ width: String(sheet.width), height: String(height), fill: white }))
    ground.setAttribute(name, value);
  figure.insertBefore(ground, figure.firstChild);
}

/** Draws marks on the sheet: an SVG element, with a name for those who do not see it. */
export function draw(sheet: Sheet, size: Size, plot: Plot.PlotOptions & { ariaLabel: string }): Element {
  const { height, top, right, bottom, left } = size;
  const figure = Plot.plot({
    ...(sheet.document === undefined ? {} : { document: sheet.document }),
    className: "bora-figure",
    ...{ width: sheet.width, height, marginTop: top, marginRight: right, marginBottom: bottom, marginLeft: left },
    ...{
      color: { type: "identity" },
      opacity: { type: "identity" },
      symbol: { type: "identity" },
      r: { type: "identity" },
    },
    ...plot,
  });
  dress(figure, sheet, height);
  return figure;
}
