import { openLab } from "@bora/sdk";
import type { ExitName } from "../exit-codes.js";
import { experimentOf, labFolder, type ExperimentOptions } from "../options.js";
import type { Terminal } from "../terminal.js";
import { watch } from "../watch.js";

/** `bora sweep`: starts, resumes or joins an experiment's sweep and shows it until it ends. */
export async function sweep(options: ExperimentOptions, terminal: Terminal): Promise<ExitName> {
  const spec = await experimentOf(options, terminal);
  const folder = labFolder(options, terminal);
  await using lab = await openLab(folder);
  return await watch(lab, { dir: folder.dir, json: options.json === true }, terminal, (sweepOptions) =>
    lab.sweep(spec, sweepOptions),
  );
}
