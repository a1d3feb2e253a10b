import { relative, resolve } from "node:path";
import { BoraError, formatBytes, formatTau } from "@bora/contracts";
import { openLab, type Exported, type ExportRequest } from "@bora/sdk";
import { controllerApi } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import { listenForInterrupts } from "../interrupt.js";
import { outFolder } from "../options.js";
import { table } from "../table.js";
import type { Terminal } from "../terminal.js";
import type { ExportOptions } from "../text-commands.js";
import { tausOf } from "./generate.js";
import { chooseSweep } from "./verbs.js";

/** Throws usage without --to. */
function requestOf(sweepId: string, options: ExportOptions, terminal: Terminal): ExportRequest {
  const { to, task = [], tau, trial = [], priorMean, license, ...rest } = options;
  if (to === undefined)
    throw new BoraError("usage", "no folder to write to", { hint: "give --to FOLDER, one that is not there yet" });
  const chosen = task.length > 0 || priorMean === true;
  return {
    ...{ sweepId, to: resolve(terminal.cwd, to), format: rest.format, dtype: rest.dtype, force: rest.force ?? false },
    ...{ taus: tausOf(tau), trialIds: trial },
    ...(chosen ? { tasks: task, priorMean: priorMean ?? false } : {}),
    ...(license === undefined ? {} : { license }),
  };
}

function exportedText({ folder, bytes, adapters, serve }: Exported, terminal: Terminal): string {
  const rows = adapters.map(({ name, task, tau }) => [name, task ?? "Theta", formatTau(tau)]);
  const near = relative(terminal.cwd, folder);
  return [
    table(["folder", "of", "tau"], rows, "llr"),
    "",
    `${near.startsWith("..") ? folder : near}: ${adapters.length} adapters, ${formatBytes(bytes)}`,
    ...(serve === null ? [] : ["", "serve them with:", serve]),
  ].join("\n");
}

/** `bora export`: writes adapters of a sweep for use elsewhere. */
export async function exportSweep(
  sweepId: string | undefined,
  options: ExportOptions,
  terminal: Terminal,
): Promise<ExitName> {
  const dir = outFolder(options, terminal);
  const left = new AbortController();
  const leave = () =>
    left.abort(new BoraError("interrupted", "the export was stopped", { hint: "nothing is left of it" }));
  using _signals = listenForInterrupts({ onFirst: leave, onSecond: leave });
  await using lab = await openLab({ dir });
  const request = requestOf("", options, terminal);
  const sweep = await chooseSweep(lab, sweepId, dir);
  const say = (stage: string) => {
    if (options.json === true) terminal.out(JSON.stringify({ stage }));
    else terminal.err(stage);
  };
  const exported = await lab.export({ ...request, sweepId: sweep.sweepId }, { signal: left.signal, onStage: say });
  terminal.out(options.json === true ? controllerApi.toJson({ exported }) : exportedText(exported, terminal));
  return "done";
}
