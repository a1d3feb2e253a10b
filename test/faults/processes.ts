import { readdirSync, readFileSync } from "node:fs";

export interface Found {
  pid: number;
  what: "orchestrator" | "trainer" | "child";
}

/** What /proc says, empty of a process that has ended. */
export const textOf = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

/** Living processes that work on an output folder, whoever their parent is; zombies have ended. */
export function processesOf(out: string): Found[] {
  return readdirSync("/proc").flatMap<Found>((name) => {
    if (!/^[0-9]+$/.test(name)) return [];
    const pid = Number(name);
    const line = textOf(`/proc/${name}/cmdline`).split("\0");
    const state = /^\d+ \(.*\) (\S)/s.exec(textOf(`/proc/${name}/stat`))?.[1] ?? "X";
    if (state === "Z" || state === "X") return [];
    if (line.includes(out) && line.some((word) => /bora\.js$|controller\.ts$/.test(word)))
      return [{ pid, what: "orchestrator" }];
    if (!textOf(`/proc/${name}/environ`).includes(`BORA_TRAINER_FOLDER=${out}/`)) return [];
    return [{ pid, what: line.includes("bora_trainer.child") ? "child" : "trainer" }];
  });
}

/** False when it has ended by itself. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
    throw error;
  }
}
