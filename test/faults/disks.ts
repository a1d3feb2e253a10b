import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Fault, Stage } from "./faults.js";
import type { Trial } from "./trial.js";

const megabytes = 48;
const ballast = (out: string): string => join(out, "..", "ballast");

/** A small disk of its own under the output folder. */
async function smallDisk(out: string): Promise<Stage> {
  const disk = join(out, "..");
  mkdirSync(disk, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "bora-faults", disk]);
  return {
    store: { dir: out },
    end: () => {
      execFileSync("umount", [disk]);
      return Promise.resolve();
    },
  };
}

function missing(): string | null {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "only root mounts a small disk";
  const probe = "/tmp/bora-faults-mount";
  try {
    mkdirSync(probe, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "bora-faults", probe], { stdio: "ignore" });
    execFileSync("umount", [probe]);
    return null;
  } catch {
    return "mounting is not allowed here";
  }
}

/** Fills what is left, to the last byte that fits. */
function fill(file: string): void {
  try {
    for (let size = 1 << 20; size >= 512; size /= 2)
      for (;;) {
        try {
          writeFileSync(file, Buffer.alloc(size, 1), { flag: "a" });
        } catch {
          break;
        }
      }
  } catch {
    // it is full
  }
}

async function fillWhileItRuns(trial: Trial): Promise<number> {
  const orchestrator = trial.sweep();
  await Promise.race([trial.wait(trial.moment()), orchestrator.ended]);
  if (orchestrator.hasEnded) return 0;
  trial.note("the disk is full");
  fill(ballast(trial.out));
  await trial.wait(trial.random.between(2_000, 8_000));
  rmSync(ballast(trial.out), { force: true });
  trial.note("there is room again");
  if ((await trial.endOf(orchestrator)) !== 0) await trial.finish();
  return 1;
}

export const fullDisk: Fault = {
  ...{ name: "disk full for 2 to 8 s", short: 1, long: 10, missing },
  where: smallDisk,
  inflict: fillWhileItRuns,
};

/** Processes that were killed hold their files until the kernel has taken them down. */
async function remountReadOnly(disk: string, trial: Trial): Promise<void> {
  for (let tries = 1; ; tries += 1)
    try {
      execFileSync("mount", ["-o", "remount,ro", disk], { stdio: "ignore" });
      return;
    } catch (error) {
      if (tries === 50) throw error;
      await trial.wait(200);
    }
}

/** A disk that became read-only between two starts: one plain refusal, and the same command goes on when it can write. */
async function readOnly(trial: Trial): Promise<number> {
  const first = trial.sweep();
  await Promise.race([trial.wait(trial.moment()), first.ended]);
  trial.powerCut();
  await first.ended;
  const disk = join(trial.out, "..");
  await remountReadOnly(disk, trial);
  const refused = trial.bora("sweep", "--spec", trial.bench.spec, "--out", trial.out, "--json");
  const code = await trial.endOf(refused).finally(() => {
    execFileSync("mount", ["-o", "remount,rw", disk]);
  });
  if (code !== 3 && code !== 0) throw new Error(`on a read-only disk it ended with ${String(code)}: ${refused.stderr}`);
  await trial.finish();
  return 1;
}

export const readOnlyDisk: Fault = {
  ...{ name: "disk read-only at a start", short: 1, long: 10, missing },
  where: smallDisk,
  inflict: readOnly,
};
