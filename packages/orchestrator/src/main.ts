import { CommanderError } from "commander";
import { reportError } from "./errors.js";
import { exitCodes, type ExitName } from "./exit-codes.js";
import { buildProgram } from "./program.js";
import type { Terminal } from "./terminal.js";

export { processTerminal } from "./terminal.js";

/** Runs one command and returns the process's exit code. */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  let exit: ExitName = "done";
  const program = buildProgram(terminal, (name) => (exit = name));
  try {
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done.code : exitCodes.usage.code;
    exit = reportError(error, terminal, argv.includes("--json"));
  }
  return exitCodes[exit].code;
}
