import { formatBytes } from "@bora/contracts";
import { clean, type GarbageItem } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import { outFolder, type OutOptions } from "../options.js";
import { table } from "../table.js";
import type { Terminal } from "../terminal.js";

export interface GcOptions extends OutOptions {
  dryRun?: boolean;
}

const sum = (items: readonly GarbageItem[]): string => formatBytes(items.reduce((all, { bytes }) => all + bytes, 0));

/** `bora gc`: removes what trainers left and no sweep needs, and says how much. */
export async function gc(options: GcOptions, terminal: Terminal): Promise<ExitName> {
  const dir = outFolder(options, terminal);
  const dryRun = options.dryRun === true;
  const items = await clean({ dir, dryRun });
  const gone = items.filter(({ kept }) => kept === null);
  const kept = items.filter((item) => item.kept !== null);
  if (options.json === true) {
    for (const item of items) terminal.out(JSON.stringify(item));
    return "done";
  }
  if (items.length > 0)
    terminal.out(
      table(
        ["folder", "size", dryRun ? "would go" : "gone"],
        items.map(({ path, bytes, kept: why }) => [path, formatBytes(bytes), why === null ? "yes" : `no: ${why}`]),
        "lrl",
      ),
    );
  terminal.out(
    `${dryRun ? "would remove" : "removed"} ${gone.length} folders, ${sum(gone)}; kept ${kept.length}, ${sum(kept)}`,
  );
  return "done";
}
