import { textWidth } from "./text-width.js";

export interface TextBox {
  text: string;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

const shift = (element: Element): [number, number] => {
  const [, x = "0", y = "0"] =
    /translate\(([-\d.e]+)[ ,]+([-\d.e]+)\)/.exec(element.getAttribute("transform") ?? "") ?? [];
  return [Number(x), Number(y)];
};

function inherited(element: Element, name: string): string | null {
  for (let at: Element | null = element; at !== null; at = at.parentElement) {
    const value = at.getAttribute(name);
    if (value !== null) return value;
  }
  return null;
}

const ems = (value: string | null): number => (value === null ? 0 : Number.parseFloat(value));

/** Where each line of text of a figure stands, in pixels of the sheet, by the widths that the figures reckon with. */
export function textBoxes(svg: Element): TextBox[] {
  return [...svg.querySelectorAll("text")].flatMap((text) => {
    let [x, y] = [0, 0];
    for (let at: Element | null = text; at !== null && at !== svg.parentElement; at = at.parentElement) {
      const [dx, dy] = shift(at);
      [x, y] = [x + dx, y + dy];
    }
    const fontSize = Number.parseFloat(inherited(text, "font-size") ?? "10");
    const anchor = inherited(text, "text-anchor") ?? "middle";
    const lines = [...text.querySelectorAll("tspan")];
    let down = ems(text.getAttribute("y")) + ems(text.getAttribute("dy"));
    return (lines.length === 0 ? [text] : lines).map((line) => {
      if (line !== text) down += ems(line.getAttribute("y")) + ems(line.getAttribute("dy"));
      const words = line.textContent ?? "";
      const width = textWidth(words, fontSize);
      const left = anchor === "start" ? x : anchor === "end" ? x - width : x - width / 2;
      const baseline = y + down * fontSize;
      return {
        text: words,
        left,
        right: left + width,
        top: baseline - 0.75 * fontSize,
        bottom: baseline + 0.15 * fontSize,
      };
    });
  });
}

/** Pairs of texts that cover each other. */
export function overlapping(boxes: readonly TextBox[]): [string, string][] {
  return boxes.flatMap((a, index) =>
    boxes
      .slice(index + 1)
      .filter((b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
      .map((b): [string, string] => [a.text, b.text]),
  );
}

/** Texts that leave the sheet. */
export function outside(boxes: readonly TextBox[], svg: Element): string[] {
  const [, , width = 0, height = 0] = (svg.getAttribute("viewBox") ?? "").split(" ").map(Number);
  return boxes
    .filter(({ left, right, top, bottom }) => left < -0.5 || right > width + 0.5 || top < -0.5 || bottom > height + 0.5)
    .map(({ text }) => text);
}
