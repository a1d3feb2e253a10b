import type { SweepEvent } from "@bora/sdk";
import { encodeSweepEvent, progress } from "@bora/sdk/controller";
import type { Terminal } from "../terminal.js";
import { view } from "./view.js";

const { advance, eventLine, noProgress } = progress;

export interface Notice {
  code: string;
  message: string;
  hint: string;
}

/** Shows a sweep to a person or a program while it runs. */
export interface Reporter {
  stage(text: string): void;
  notice(notice: Notice): void;
  /** Events from before `startedAt` are history: they are known, not told again. */
  event(event: SweepEvent): void;
  /** Nothing is shown after it. */
  end(): Promise<void>;
}

const clockTime = (ms: number): string => new Date(ms).toTimeString().slice(0, 8);

/** One line an event, for logs; of step windows one in ten seconds. */
export function lineReporter(terminal: Terminal, stepEveryMs = 10_000): Reporter {
  const startedAt = terminal.nowMs();
  const say = (text: string) => {
    terminal.out(`${clockTime(terminal.nowMs())} ${text}`);
  };
  let state = noProgress(startedAt);
  let lastStepAt = 0;
  return {
    stage: say,
    notice: ({ code, message, hint }) => {
      say(`${code}: ${message} (${hint})`);
    },
    event(event) {
      state = advance(state, event);
      if (event.at < startedAt) return;
      if (event.event.kind === "steps_done") {
        if (event.at - lastStepAt < stepEveryMs) return;
        lastStepAt = event.at;
      }
      const line = eventLine(state, event);
      if (line !== null) say(line);
    },
    end: () => Promise.resolve(),
  };
}

/** JSON lines only: every event, and `stage` and `notice` lines between them. */
export function jsonReporter(terminal: Terminal): Reporter {
  const startedAt = terminal.nowMs();
  const say = (line: Record<string, unknown>) => {
    terminal.out(JSON.stringify(line));
  };
  return {
    stage: (text) => {
      say({ stage: text });
    },
    notice: (notice) => {
      say({ notice });
    },
    event: (event) => {
      if (event.at >= startedAt) terminal.out(encodeSweepEvent(event));
    },
    end: () => Promise.resolve(),
  };
}

/** What draws a block of lines in place: log-update in a terminal, an array in a test. */
export interface Canvas {
  draw(lines: readonly string[]): void;
  done(): void;
}

/** A view that is drawn in place, at most five times a second. */
export function liveReporter(terminal: Terminal, canvas: Canvas, redrawMs = 200): Reporter {
  let state = noProgress(terminal.nowMs());
  let stage = "";
  const draw = () => {
    const { columns, rows } = terminal;
    const lines = view(state, { columns, rows, nowMs: terminal.nowMs() });
    canvas.draw(stage === "" ? lines : [...lines, stage.slice(0, columns)]);
  };
  const timer = setInterval(draw, redrawMs);
  return {
    stage(text) {
      stage = text;
    },
    notice: ({ code, message, hint }) => {
      terminal.err(`${code}: ${message} (${hint})`);
    },
    event(event) {
      if (state.sweepId === "") stage = ""; // it was about planning
      state = advance(state, event);
    },
    end() {
      clearInterval(timer);
      draw();
      canvas.done();
      return Promise.resolve();
    },
  };
}

/** A canvas on standard output. */
export async function terminalCanvas(): Promise<Canvas> {
  const { default: logUpdate } = await import("log-update");
  return {
    draw: (lines) => {
      logUpdate(lines.join("\n"));
    },
    done: () => {
      logUpdate.done();
    },
  };
}

/** The reporter for where the output goes. */
export async function openReporter(terminal: Terminal, json: boolean): Promise<Reporter> {
  if (json) return jsonReporter(terminal);
  if (!terminal.isTty) return lineReporter(terminal);
  return liveReporter(terminal, await terminalCanvas());
}
