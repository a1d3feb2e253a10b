import { readdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import type { Placement } from "./placer.js";
import { isAlive, processesOf } from "./processes.js";
import { isTrainerId, readReady, readToken, trainerFolder } from "./trainer-folder.js";

const ticksPerSecond = 100; // USER_HZ, which is the same on every Linux

export interface LivingTrainer {
  placement: Placement & { at: "ready" };
  processes: number; // of its own and its children
  residentBytes: number;
  cpuSeconds: number; // of all of them since they started
}

/** Resident bytes and processor seconds of a process; null when it has gone. */
async function usage(pid: number): Promise<{ residentBytes: number; cpuSeconds: number } | null> {
  const [status, stat] = await Promise.all(
    ["status", "stat"].map((name) => readFile(`/proc/${pid}/${name}`, "utf8").catch(() => null)),
  );
  if (status == null || stat == null) return null;
  const kib = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // proc(5): the name before may hold anything
  return { residentBytes: kib * 1024, cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond };
}

/** The trainers of a local placer's folder whose processes live. Only looks: whoever places them may be at work. */
export async function livingTrainers(root: string): Promise<LivingTrainer[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  const found: LivingTrainer[] = [];
  for (const { name } of entries.filter((entry) => entry.isDirectory() && isTrainerId(entry.name))) {
    const folder = trainerFolder(root, name);
    const ready = await readReady(folder);
    if (ready === null || !(await isAlive(ready))) continue;
    const token = await readToken(folder).catch(() => null);
    if (token === null) continue; // it was released just now
    const { address, instanceId } = ready;
    const usages = await Promise.all((await processesOf(folder.path)).map(({ pid }) => usage(pid)));
    const living = usages.filter((one) => one !== null);
    found.push({
      placement: { at: "ready", trainerId: name, instanceId, address, token, node: hostname(), devices: [] },
      processes: living.length,
      residentBytes: living.reduce((sum, one) => sum + one.residentBytes, 0),
      cpuSeconds: living.reduce((sum, one) => sum + one.cpuSeconds, 0),
    });
  }
  return found;
}
