import { basename, join, resolve } from "node:path";
import { formatTau } from "@bora/contracts";
import { controllerApi } from "@bora/sdk/controller";
import { compareStoredSweeps, type SweepPlace } from "@bora/sdk/report";
import type { ExitName } from "../exit-codes.js";
import { outFolder } from "../options.js";
import type { ReportOptions } from "../program.js";
import { table } from "../table.js";
import type { Terminal } from "../terminal.js";
import { near, placeOf } from "./report.js";

const longestName = 120;

const defaultFolder = (dir: string, places: readonly SweepPlace[]): string => {
  const ids = places.map((place) => ("folder" in place ? basename(place.folder) : place.sweepId));
  return join(dir, `comparison-${ids.join("-")}`.slice(0, longestName));
};

/** `bora compare`: two or more sweeps against the first, in words, a table, a page and figures. */
export async function compare(named: readonly string[], options: ReportOptions, terminal: Terminal): Promise<ExitName> {
  const dir = outFolder(options, terminal);
  const places: SweepPlace[] = [];
  for (const one of named) places.push(await placeOf(one, dir, terminal));
  const to = options.to === undefined ? defaultFolder(dir, places) : resolve(terminal.cwd, options.to);
  const { folder, files, words, comparison } = await compareStoredSweeps(places, to);
  if (options.json === true) {
    terminal.out(controllerApi.toJson({ folder, files, words, comparison }));
    return "done";
  }
  const rows = comparison.sweeps.map(({ label, tau, seeds, documents, value, low, high }) => [
    ...[label, formatTau(tau), String(seeds), String(documents), value.toFixed(4)],
    low === null || high === null ? "" : `${low.toFixed(4)} to ${high.toFixed(4)}`,
  ]);
  terminal.out(table(["sweep", "tau", "seeds", "test", comparison.unit, "95 % interval"], rows, "lrrrrl"));
  terminal.out("");
  for (const sentence of words) terminal.out(sentence);
  terminal.out(`\n${near(folder, terminal)}/comparison.html, figures/ and tables/`);
  return "done";
}
