import { BoraError } from "@bora/contracts";
import type { ExportedAdapter } from "./export-request.js";

/** The values that vLLM's --max-lora-rank can have. */
const ranks = [1, 8, 16, 32, 64, 128, 256, 320, 512];

/** The smallest --max-lora-rank that holds `rank`. Throws usage above the largest. */
export function servedRank(rank: number): number {
  const found = ranks.find((one) => one >= rank);
  if (found !== undefined) return found;
  throw new BoraError("usage", `vLLM serves adapters up to rank ${String(ranks.at(-1))}, these have ${rank}`, {
    hint: "export them merged, or train with a lower adapter.rank",
  });
}

const quoted = (word: string): string => (/^[\w./:=@+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** The command line that serves one base with all adapters, each asked for by its name. */
export function serveCommand(
  base: string,
  rank: number,
  adapters: readonly Pick<ExportedAdapter, "name" | "folder">[],
  under: string,
): string {
  const modules = adapters.map(({ name, folder }) => quoted(`${name}=${under}${folder}`));
  const options = ["--enable-lora", "--max-lora-rank", String(servedRank(rank)), "--lora-modules", ...modules];
  return ["vllm", "serve", quoted(base), ...options].join(" ");
}

/** vllm-serve.sh: the same from the folder itself, so that it may be moved. */
export const serveScript = (base: string, rank: number, adapters: readonly ExportedAdapter[]): string =>
  `#!/bin/sh\n# Serves the base and every adapter here; a request names one as its model.\nset -e\ncd "$(dirname "$0")"\nexec ${serveCommand(base, rank, adapters, "")} "$@"\n`;
