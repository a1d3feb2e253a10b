import { Resvg } from "@resvg/resvg-js";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import PDFDocument from "pdfkit";
import svgToPdf from "svg-to-pdfkit";
import { paperFont } from "./figures/sheet.js";

const fontFile = createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuSans.ttf");
const pointsPerPixel = 0.75;
const pixelRatio = 2;

/** Pixels of a figure drawn on paper, in our own font whatever the machine has; twice as many as its size says. */
export function svgToPng(svg: string): Uint8Array {
  const font = { loadSystemFonts: false, fontFiles: [fontFile], defaultFontFamily: paperFont };
  return new Resvg(svg, { font, fitTo: { mode: "zoom", value: pixelRatio } }).render().asPng();
}

/** A page of the figure's size with its font embedded; no clock in it. */
export async function svgToPdfFile(svg: string, title: string): Promise<Uint8Array> {
  const [, width = "0", height = "0"] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg) ?? [];
  const size: [number, number] = [Number(width) * pointsPerPixel, Number(height) * pointsPerPixel];
  const document = new PDFDocument({ size, margin: 0, info: { Title: title, CreationDate: new Date(0) } });
  const chunks: Buffer[] = [];
  document.on("data", (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise<void>((resolve, reject) => {
    document.on("end", resolve);
    document.on("error", reject);
  });
  document.registerFont(paperFont, await readFile(fontFile));
  document.font(paperFont);
  svgToPdf(document, svg, 0, 0, { width: size[0], height: size[1], fontCallback: () => paperFont });
  document.end();
  await ended;
  return Buffer.concat(chunks);
}
