import { toBoraError } from "@bora/contracts";
import { exitOfError, type ExitName } from "./exit-codes.js";
import type { Terminal } from "./terminal.js";

/** Prints an error as `error <code>: message` with its hint, and says how to exit. */
export function reportError(thrown: unknown, terminal: Terminal, json: boolean): ExitName {
  const error = toBoraError(thrown);
  const { code, message, hint } = error;
  terminal.err(`error ${code}: ${message}`);
  terminal.err(`  hint: ${hint} (docs/errors.md#${code})`);
  if (code === "internal" && error.cause instanceof Error && terminal.env["BORA_TRACE"] === "1")
    terminal.err(error.cause.stack ?? "");
  const exit = exitOfError(error);
  if (json) terminal.out(JSON.stringify({ error: { code, message, hint }, exit }));
  return exit;
}
