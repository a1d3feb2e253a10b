import stringWidth from "string-width";
import wrapAnsi from "wrap-ansi";

export interface Section {
  label: string;
  text: string;
  done: null | "length" | "end";
}

const narrowest = 36; // columns of a section: below it, lines of prose tear
const gap = 3;

const pad = (text: string, width: number): string => text + " ".repeat(Math.max(0, width - stringWidth(text)));

/** A terminal obeys control characters, and a model may write any. */
const harmless = (text: string): string => text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, " ");

/** A section as lines of at most `width` columns: its label, then the prompt and what follows it. */
function block({ label, text, done }: Section, prompt: string, width: number): string[] {
  const end = done === "end" ? " [end]" : "";
  const body = wrapAnsi(harmless(`${prompt}${text}${end}`), width, { hard: true, trim: false }).split("\n");
  const head = wrapAnsi(harmless(label), width, { hard: true }).split("\n");
  return [...head, "-".repeat(Math.min(width, Math.max(...head.map((line) => stringWidth(line))))), ...body];
}

/** Sections side by side, as many as there is room for, row by row; one below the other in a narrow terminal. */
export function sectionLines(sections: readonly Section[], prompt: string, columns: number): string[] {
  const across = Math.max(1, Math.min(sections.length, Math.floor((columns + gap) / (narrowest + gap))));
  const width = Math.max(1, Math.floor((columns + gap) / across) - gap);
  const lines: string[] = [];
  for (let at = 0; at < sections.length; at += across) {
    const blocks = sections.slice(at, at + across).map((section) => block(section, prompt, width));
    const height = Math.max(...blocks.map((one) => one.length));
    if (at > 0) lines.push("");
    for (let line = 0; line < height; line += 1) {
      const cells = blocks.map((one) => pad(one[line] ?? "", width));
      lines.push(cells.join(" ".repeat(gap)).trimEnd());
    }
  }
  return lines;
}
