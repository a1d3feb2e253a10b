import { resolve } from "node:path";
import { BoraError } from "@bora/contracts";
import type { AdaptRequest } from "@bora/sdk";
import type { Command } from "commander";
import type { Terminal } from "./terminal.js";

export interface DataOptions {
  data?: string;
  taskColumn?: string;
  textColumn?: string;
  promptColumn?: string;
  completionColumn?: string;
  idColumn?: string;
  dateColumn?: string;
}

/** Options that say where documents are. */
export const withData = (command: Command): Command =>
  command
    .option("--data <file>", "documents (csv, jsonl, parquet); the sweep's own data when left out")
    .option("--task-column <name>", "of the file, if it is not the sweep's; none: all rows are of one task")
    .option("--text-column <name>")
    .option("--prompt-column <name>", "with --completion-column, of which alone the text is scored")
    .option("--completion-column <name>")
    .option("--id-column <name>")
    .option("--date-column <name>");

/** The file that the options name. Throws usage. */
export function dataFile(options: DataOptions, terminal: Terminal): AdaptRequest["data"] {
  const { data, taskColumn, textColumn, promptColumn, completionColumn, idColumn, dateColumn } = options;
  const columns = {
    ...(taskColumn !== undefined && { task: taskColumn === "none" ? null : taskColumn }),
    ...(textColumn !== undefined && { text: textColumn }),
    ...(promptColumn !== undefined && { prompt: promptColumn }),
    ...(completionColumn !== undefined && { completion: completionColumn }),
    ...(idColumn !== undefined && { id: idColumn }),
    ...(dateColumn !== undefined && { date: dateColumn }),
  };
  if (data !== undefined) return { path: resolve(terminal.cwd, data), columns };
  if (Object.keys(columns).length === 0) return undefined;
  throw new BoraError("usage", "columns are named, but no file", { hint: "name it with --data" });
}
