import { openLab, type SweepStatus } from "@bora/sdk";
import type { ExitName } from "../exit-codes.js";
import { labFolder, type OutOptions } from "../options.js";
import { table } from "../table.js";
import type { Terminal } from "../terminal.js";
import { chooseSweep } from "./verbs.js";

function phaseWord({ live, phase, outcome, paused }: SweepStatus): string {
  if (paused !== null) return `paused (${paused})`;
  if (phase === "ended") return outcome ?? phase;
  return live ? phase : "left off (resumable)";
}

const row = (status: SweepStatus): string[] => [
  status.sweepId,
  phaseWord(status),
  Object.entries(status.trials)
    .map(([state, count]) => `${count} ${state}`)
    .join(", "),
  new Date(status.plannedAtMs).toISOString().slice(0, 16).replace("T", " "),
];

/** `bora status`: a row for each sweep of the folder, newest first. */
export async function status(sweepId: string | undefined, options: OutOptions, terminal: Terminal): Promise<ExitName> {
  const folder = labFolder(options, terminal);
  const { dir } = folder;
  await using lab = await openLab(folder);
  const statuses = sweepId === undefined ? await lab.status() : [await chooseSweep(lab, sweepId, dir)];
  if (options.json === true) for (const one of statuses) terminal.out(JSON.stringify(one));
  else if (statuses.length === 0) terminal.out(`${dir} holds no sweep yet`);
  else terminal.out(table(["sweep", "state", "trials", "planned (UTC)"], statuses.map(row), "llll"));
  return "done";
}
