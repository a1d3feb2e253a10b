import { openLab } from "@bora/sdk";
import { controllerApi } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import { labFolder, type OutOptions } from "../options.js";
import { filesText, resultsText } from "../summary.js";
import type { Terminal } from "../terminal.js";
import { chooseSweep } from "./verbs.js";

/** `bora results`: the table of a sweep that has ended. */
export async function results(sweepId: string | undefined, options: OutOptions, terminal: Terminal): Promise<ExitName> {
  const folder = labFolder(options, terminal);
  const { dir } = folder;
  await using lab = await openLab(folder);
  const chosen = await chooseSweep(lab, sweepId, dir);
  const found = await lab.results(chosen.sweepId);
  if (options.json === true) terminal.out(controllerApi.toJson(found));
  else terminal.out(`${resultsText(found)}\n\n${filesText(`${dir}/${chosen.sweepId}`, terminal)}`);
  return "done";
}
