/** What a command needs of the process it runs in; tests give their own. */
export interface Terminal {
  out(text: string): void; // one line, or several
  err(text: string): void;
  readonly isTty: boolean; // stdout
  readonly columns: number;
  readonly rows: number;
  readonly cwd: string; // relative paths are seen from here
  readonly env: Readonly<Record<string, string | undefined>>;
  nowMs(): number;
}

/** Nx runs a target in the workspace's root; npm tells where the person stood. */
const invocationFolder = (): string =>
  (process.env["BORA_UNDER_NX"] === "1" ? process.env["INIT_CWD"] : undefined) ?? process.cwd();

export function processTerminal(): Terminal {
  // A pipe that was closed, or Nx that has left after Ctrl-C, must not keep a checkpoint from being written.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  return {
    out: (text) => process.stdout.write(`${text}\n`),
    err: (text) => process.stderr.write(`${text}\n`),
    isTty: process.stdout.isTTY,
    get columns() {
      return process.stdout.columns || 80;
    },
    get rows() {
      return process.stdout.rows || 24;
    },
    cwd: invocationFolder(),
    env: process.env,
    nowMs: () => Date.now(),
  };
}
