import { existsSync } from "node:fs";
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path";
import { BoraError } from "@bora/contracts";
import { openLab } from "@bora/sdk";
import { reportSweep, type SweepPlace } from "@bora/sdk/report";
import type { ExitName } from "../exit-codes.js";
import { outFolder } from "../options.js";
import type { ReportOptions } from "../program.js";
import type { Terminal } from "../terminal.js";
import { chooseSweep } from "./verbs.js";

/** A sweep of --out by its id, the newest when none is named, or a results folder by its path. Throws sweep_unknown. */
export async function placeOf(named: string | undefined, dir: string, terminal: Terminal): Promise<SweepPlace> {
  if (named !== undefined && existsSync(join(dir, named)) && !isAbsolute(named) && !named.includes("/"))
    return { dir, sweepId: named };
  const folder = named === undefined ? null : resolve(terminal.cwd, named);
  if (folder !== null && existsSync(join(dirname(folder), "bora.sqlite")))
    return { dir: dirname(folder), sweepId: basename(folder) }; // of another --out, ended or not
  if (folder !== null && existsSync(folder)) return { folder };
  await using lab = await openLab({ dir });
  const { sweepId } = await chooseSweep(lab, named, dir);
  return { dir, sweepId };
}

/** As seen from where the person stands. */
export function near(folder: string, terminal: Terminal): string {
  const path = relative(terminal.cwd, folder);
  return path === "" ? "." : path.startsWith("..") ? folder : path;
}

const endings = (files: readonly string[], folder: string): string[] =>
  [
    ...new Set(files.filter((file) => file.startsWith(`${folder}/`)).map((file) => file.split(".").at(-1) ?? "")),
  ].toSorted();

/** `bora report`: writes page, figures and tables, and says where they are. */
export async function report(named: string | undefined, options: ReportOptions, terminal: Terminal): Promise<ExitName> {
  const dir = outFolder(options, terminal);
  if (options.to === "")
    throw new BoraError("usage", "--to names no folder", { hint: "leave it out for the sweep's own" });
  const to = options.to === undefined ? undefined : resolve(terminal.cwd, options.to);
  const { folder, files, missing, open, results } = await reportSweep(await placeOf(named, dir, terminal), to);
  if (options.json === true) {
    terminal.out(JSON.stringify({ sweepId: results.sweepId, folder, open, files, missing }));
    return "done";
  }
  const place = near(folder, terminal);
  const count = (under: string) =>
    new Set(files.filter((file) => file.startsWith(under)).map((file) => file.split(".")[0])).size;
  if (open > 0)
    terminal.out(`unfinished: ${open} of ${results.trials.length} trials have not ended; this is what there is so far`);
  terminal.out(`${place}/report.html`);
  terminal.out(`${place}/figures/  ${count("figures/")} figures as ${endings(files, "figures").join(", ")}`);
  terminal.out(`${place}/tables/   ${count("tables/")} tables as ${endings(files, "tables").join(", ")}`);
  for (const { figure, why } of missing) terminal.out(`not drawn: ${figure}: ${why}`);
  return "done";
}
