import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openStore } from "@bora/store";
import type { Random } from "./random.js";
import type { Trial } from "./trial.js";

/** Runs until the n-th event of a kind and takes everything down at once, so that files can be damaged. */
async function downAt(trial: Trial, kind: string, times: number): Promise<boolean> {
  const orchestrator = trial.sweep();
  const came = await orchestrator.until(kind, times);
  trial.powerCut();
  await orchestrator.ended;
  return came;
}

function runFolders(out: string): string[] {
  const runs = join(out, "trainer/runs");
  return existsSync(runs) ? readdirSync(runs).map((name) => join(runs, name)) : [];
}

/** Flips one byte, or cuts the file short. */
function damage(file: string, random: Random): void {
  const bytes = readFileSync(file);
  const at = random.whole(0, bytes.length - 1);
  if (random.next() < 0.5) return truncateSync(file, at);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.whole(0, 7));
  writeFileSync(file, bytes);
}

export async function corruptCheckpoint(trial: Trial): Promise<number> {
  await downAt(trial, "checkpoint_saved", trial.random.whole(2, 5));
  let done = 0;
  for (const folder of runFolders(trial.out).map((run) => join(run, "checkpoints"))) {
    const newest = existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => /^step-/.test(name))
          .sort()
          .at(-1)
      : undefined;
    if (newest === undefined) continue;
    const file = trial.random.pick(["state.safetensors", "state.json", "files.json"]);
    trial.note(`damage ${newest}/${file}`);
    damage(join(folder, newest, file), trial.random);
    done += 1;
  }
  await trial.finish();
  return done;
}

export async function truncateEventLog(trial: Trial): Promise<number> {
  await downAt(trial, "checkpoint_saved", trial.random.whole(1, 5));
  let done = 0;
  for (const file of runFolders(trial.out).map((run) => join(run, "events.bin"))) {
    if (!existsSync(file)) continue;
    const size = readFileSync(file).length;
    truncateSync(file, trial.random.whole(0, size));
    trial.note(`truncate ${file}`);
    done += 1;
  }
  await trial.finish();
  return done;
}

async function hasEnded(trial: Trial): Promise<boolean> {
  await using store = await openStore({ ...trial.store, mode: "read" });
  for await (const { body, sweepId } of store.read({}))
    if (sweepId.startsWith("tiny-") && body.stream === "control" && body.event.kind === "sweep_ended") return true;
  return false;
}

/** A file that an orchestrator which died had fetched, or was fetching, is cut short; the trainer still has the whole. */
export async function truncateArtifact(trial: Trial): Promise<number> {
  if (!(await downAt(trial, "artifacts_fetched", trial.random.whole(1, 3)))) return 0;
  const entries = readdirSync(trial.out, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile() && entry.parentPath.includes("/tiny-") && !entry.parentPath.includes("/trainer"))
    .map((entry) => join(entry.parentPath, entry.name));
  if (files.length === 0 || (await hasEnded(trial))) return 0;
  const file = trial.random.pick(files);
  truncateSync(file, trial.random.whole(0, Math.max(0, readFileSync(file).length - 1)));
  trial.note(`truncate ${file}`);
  await trial.finish();
  return 1;
}
