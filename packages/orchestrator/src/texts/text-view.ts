import type { GeneratedPiece } from "@bora/sdk";
import type { Canvas } from "../progress/reporter.js";
import type { Terminal } from "../terminal.js";
import { sectionLines, type Section } from "./sections.js";

/** Shows texts while they are written. */
export interface TextView {
  stage(text: string): void;
  piece(piece: GeneratedPiece): void;
  /** The texts as far as they came; nothing is shown after it. */
  end(): void;
}

/** JSON lines: the sources' labels, then every piece. */
export function jsonTexts(terminal: Terminal, labels: readonly string[]): TextView {
  terminal.out(JSON.stringify({ sources: labels }));
  return {
    stage: (text) => terminal.out(JSON.stringify({ stage: text })),
    piece: (piece) => terminal.out(JSON.stringify(piece)),
    end: () => undefined,
  };
}

/** Sections that fill token by token on a canvas, at most ten times a second; without one they are printed at the end. */
export function textSections(
  terminal: Terminal,
  labels: readonly string[],
  prompt: string,
  canvas: Canvas | null,
): TextView {
  const sections: Section[] = labels.map((label) => ({ label, text: "", done: null }));
  let stage = "";
  let drawnAt = -Infinity;
  const draw = () => {
    if (canvas === null || terminal.nowMs() - drawnAt < 100) return;
    drawnAt = terminal.nowMs();
    const begun = sections.some(({ text, done }) => text !== "" || done !== null);
    const lines = begun ? sectionLines(sections, prompt, terminal.columns) : [`${stage} ...`];
    const room = Math.max(1, terminal.rows - 1);
    canvas.draw(lines.length > room ? [...lines.slice(0, room - 1), "... (more when all is written)"] : lines);
  };
  return {
    stage(text) {
      stage = text;
      draw();
    },
    piece({ source, text, done }) {
      const section = sections[source];
      if (section === undefined) return;
      section.text += text;
      section.done = done ?? section.done;
      draw();
    },
    end() {
      canvas?.draw([]);
      canvas?.done();
      if (sections.some(({ text, done }) => text !== "" || done !== null))
        terminal.out(sectionLines(sections, prompt, terminal.columns).join("\n"));
    },
  };
}
