import type { Terminal } from "./terminal.js";

export interface Recorded extends Terminal {
  readonly outLines: string[];
  readonly errLines: string[];
}

/** A terminal that keeps what it is told. */
export function recordingTerminal(facts: Partial<Terminal> = {}): Recorded {
  const [outLines, errLines]: [string[], string[]] = [[], []];
  return {
    ...{ isTty: false, columns: 80, rows: 24, cwd: "/", env: {}, nowMs: () => 0 },
    ...facts,
    out: (text) => outLines.push(...text.split("\n")),
    err: (text) => errLines.push(...text.split("\n")),
    outLines,
    errLines,
  };
}
