import { resolve } from "node:path";
import { formatBytes } from "@bora/contracts";
import { backup as backupStore } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import { outFolder, type OutOptions } from "../options.js";
import type { Terminal } from "../terminal.js";

/** `bora backup FILE`: a copy of the store, whatever is at work. */
export async function backup(file: string, options: OutOptions, terminal: Terminal): Promise<ExitName> {
  const to = resolve(terminal.cwd, file);
  const bytes = await backupStore({ dir: outFolder(options, terminal), to });
  if (options.json === true) terminal.out(JSON.stringify({ file: to, bytes }));
  else terminal.out(`${to}: ${formatBytes(bytes)}; to restore it, put it as bora.sqlite into an empty folder`);
  return "done";
}
