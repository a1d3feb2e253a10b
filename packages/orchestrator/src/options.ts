import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { ExperimentSpec } from "@bora/contracts";
import type { LabFolder } from "@bora/sdk";
import type { Terminal } from "./terminal.js";

export interface OutOptions {
  out: string;
  json?: boolean;
  trainers?: string;
}

export interface ExperimentOptions extends OutOptions {
  spec?: string;
  taus?: string;
  set: string[];
}

const defaultSpec = fileURLToPath(new URL("../../../examples/shakespeare.yaml", import.meta.url));

export const outFolder = (options: OutOptions, terminal: Terminal): string => resolve(terminal.cwd, options.out);

/** The folder of sweeps that the options name, and where its trainers come from. */
export const labFolder = (options: OutOptions, terminal: Terminal): LabFolder => ({
  dir: outFolder(options, terminal),
  ...(options.trainers !== undefined && { trainers: resolve(terminal.cwd, options.trainers) }),
});

/** The experiment that the options name, with the command line's values over it. Throws spec_unreadable, spec_invalid, usage. */
export async function experimentOf(options: ExperimentOptions, terminal: Terminal): Promise<ExperimentSpec> {
  const { readExperiment } = await import("@bora/contracts");
  const file = options.spec === undefined ? defaultSpec : fileFrom(terminal.cwd, options.spec);
  return readExperiment(file, { set: options.set, ...(options.taus === undefined ? {} : { taus: options.taus }) });
}

/** As seen from where the person stands; a name that is only there from the repository's root is found too. */
function fileFrom(cwd: string, name: string): string {
  const here = resolve(cwd, name);
  const fromRoot = resolve(fileURLToPath(new URL("../../..", import.meta.url)), name);
  return existsSync(here) || !existsSync(fromRoot) ? here : fromRoot;
}
