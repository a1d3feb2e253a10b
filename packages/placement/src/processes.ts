import { readdir, readFile } from "node:fs/promises";
import { FOLDER_VARIABLE } from "./environment.js";

/** A process for good: its pid alone may be another's tomorrow. */
export interface ProcessIdentity {
  pid: number;
  startTime: number; // clock ticks since boot
}

/** When a living process started, null when there is none; a zombie has ended. */
export async function startTimeOf(pid: number): Promise<number | null> {
  const stat = await readProc(`${pid}/stat`);
  if (stat === null) return null;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // proc(5): the name before may hold anything
  const [state, startTime] = [fields[0], Number(fields[19])];
  return state === "Z" || state === "X" || !Number.isSafeInteger(startTime) ? null : startTime;
}

export const isAlive = async ({ pid, startTime }: ProcessIdentity): Promise<boolean> =>
  (await startTimeOf(pid)) === startTime;

/** Every living process that was started for a trainer's folder, in whatever process group it is. */
export async function processesOf(folder: string): Promise<ProcessIdentity[]> {
  const pids = (await readdir("/proc")).filter((name) => /^[0-9]+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map((pid) => identify(pid, `${FOLDER_VARIABLE}=${folder}`)));
  return found.filter((process) => process !== null);
}

/** Signals a process, or the whole group it leads; one that has just ended is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals, to: "process" | "group"): void {
  try {
    process.kill(to === "group" ? -pid : pid, signal);
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ESRCH")) throw thrown;
  }
}

async function identify(pid: number, variable: string): Promise<ProcessIdentity | null> {
  const environment = await readProc(`${pid}/environ`);
  if (environment === null || !environment.split("\0").includes(variable)) return null;
  const startTime = await startTimeOf(pid);
  return startTime === null ? null : { pid, startTime };
}

/** Null for a process that is gone or another user's. */
const readProc = (path: string): Promise<string | null> => readFile(`/proc/${path}`, "utf8").catch(() => null);
