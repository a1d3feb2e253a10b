import { BoraError } from "@bora/contracts";
import { openLab, type Lab, type SweepCommand, type SweepStatus } from "@bora/sdk";
import type { ExitName } from "../exit-codes.js";
import { labFolder, type OutOptions } from "../options.js";
import type { Terminal } from "../terminal.js";
import { watch } from "../watch.js";

/** The sweep that was named, or the one at work, or the newest that is not part of another. Throws sweep_unknown. */
export async function chooseSweep(lab: Lab, sweepId: string | undefined, dir: string): Promise<SweepStatus> {
  const statuses = await lab.status();
  const named = statuses.filter((status) => sweepId === undefined || status.sweepId === sweepId);
  const chosen = named.find(({ live }) => live) ?? named.find(({ partOf }) => partOf === null) ?? named[0];
  if (chosen !== undefined) return chosen;
  const what = sweepId === undefined ? "no sweep" : `no sweep ${sweepId}`;
  throw new BoraError("sweep_unknown", `${dir} holds ${what}`, { hint: "name another folder with --out" });
}

/** Hands a command to the sweep's controller; without one, `resume`, `retry` and `cancel` make this process the controller. */
export async function send(
  command: SweepCommand,
  sweepId: string | undefined,
  options: OutOptions,
  terminal: Terminal,
): Promise<ExitName> {
  const folder = labFolder(options, terminal);
  const { dir } = folder;
  const json = options.json === true;
  await using lab = await openLab(folder);
  const sweep = await chooseSweep(lab, sweepId, dir);
  if (!sweep.live) {
    const wanted = command.verb === "cancel" ? "cancelled" : "done";
    return await watch(lab, { dir, json, wanted }, terminal, (started) =>
      lab.continue(sweep.sweepId, command, started),
    );
  }
  await lab.continue(sweep.sweepId, command);
  const asked = { sweepId: sweep.sweepId, asked: command.verb };
  terminal.out(json ? JSON.stringify(asked) : `${sweep.sweepId}: asked its controller to ${command.verb}`);
  return "done";
}
