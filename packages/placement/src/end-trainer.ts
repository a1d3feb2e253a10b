import { setTimeout as sleep } from "node:timers/promises";
import { BoraError } from "@bora/contracts";
import { isAlive, processesOf, signalProcess, type ProcessIdentity } from "./processes.js";
import { readReady, type TrainerFolder } from "./trainer-folder.js";

const POLL_MS = 25;
const KILLED_MS = 10_000;

/**
 * Ends every process of a trainer and returns when none is left: SIGTERM to its group, `graceMs`, SIGKILL. Its
 * training child is in a group of its own, which the trainer ends itself as long as it can; otherwise this does.
 * Throws trainer_lost when a process survives SIGKILL.
 */
export async function endTrainer(folder: TrainerFolder, graceMs: number, signal: AbortSignal): Promise<void> {
  let left = await processesOf(folder.path);
  if (left.length === 0) return;
  const leader = await readReady(folder);
  const asked = leader !== null && (await isAlive(leader)) ? [leader] : left;
  for (const { pid } of asked) signalProcess(pid, "SIGTERM", asked === left ? "process" : "group");
  left = await whenGone(folder, left, graceMs, signal);
  for (const { pid } of left) signalProcess(pid, "SIGKILL", "process");
  left = await whenGone(folder, left, KILLED_MS, signal);
  if (left.length === 0) return;
  throw new BoraError("trainer_lost", `processes ${pidsOf(left)} of ${folder.trainerId} survive SIGKILL`, {
    hint: "they hang in the kernel, most often in a device driver or on a network disk: the machine needs a look",
  });
}

/** Waits until the processes, and those they start meanwhile, have ended; returns what has not after `ms`. */
async function whenGone(
  folder: TrainerFolder,
  known: ProcessIdentity[],
  ms: number,
  signal: AbortSignal,
): Promise<ProcessIdentity[]> {
  const end = performance.now() + ms;
  for (let left = known; ;) {
    left = await living(folder, left);
    if (left.length === 0 || performance.now() >= end) return left;
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** A process that is being torn down has no environment any more, hence those known before are asked one by one. */
async function living(folder: TrainerFolder, known: ProcessIdentity[]): Promise<ProcessIdentity[]> {
  const found = await processesOf(folder.path);
  const dying = known.filter(({ pid }) => !found.some((process) => process.pid === pid));
  const alive = await Promise.all(dying.map(isAlive));
  return [...found, ...dying.filter((_, index) => alive[index])];
}

const pidsOf = (processes: ProcessIdentity[]): string => processes.map(({ pid }) => pid).join(", ");
