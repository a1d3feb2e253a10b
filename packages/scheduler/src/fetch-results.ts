import { BoraError, isMissing, type ControlEvent, type ErrorCode } from "@bora/contracts";
import type { Trainer } from "@bora/trainer-client";
import { copyFile, link, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { asDiskError } from "./disk-error.js";
import { manifestOf } from "./evolve-trainer.js";
import { asFailure, type Loop } from "./loop.js";
import { isThere, manifestFile, readResultFiles } from "./result-files.js";
import { backoffMs, maxAttempts } from "./retry-policy.js";
import type { ResultManifest } from "./sweep-state.js";

/** Copies a trial's (null: the base model's) result files into the sweep's folder and records that they are there. */
export async function fetchResults(loop: Loop, trialId: string | null, runId: string): Promise<void> {
  for (let failures = 1; ; failures += 1) {
    try {
      await bringIn(loop, trialId, runId);
      await loop.record(() => [{ kind: "artifacts_fetched", trialId, runId }]);
      return;
    } catch (thrown) {
      const error = asDiskError(thrown);
      if (loop.signal.aborted || !(error instanceof BoraError)) throw error;
      loop.notice(error);
      if (error.code === "disk_full" || failures === maxAttempts)
        return void (await loop.record(() => [givenUp(error, trialId, runId)]));
      await loop.deps.clock.sleep(backoffMs(failures), loop.signal);
    }
  }
}

const filesAreGone = new Set<ErrorCode>(["artifact_corrupt", "artifact_unknown", "run_unknown"]);

/** Files that are no more cost their trial its result; anything else that keeps them from being brought in, the sweep a pause. */
function givenUp(error: BoraError, trialId: string | null, runId: string): ControlEvent {
  if (!filesAreGone.has(error.code)) return { kind: "paused", code: error.code, reason: error.message };
  const hint = "its result files are gone or damaged: bora retry --missing trains it again";
  return { kind: "results_lost", trialId, runId, ...asFailure(error), hint };
}

async function bringIn(loop: Loop, trialId: string | null, runId: string): Promise<void> {
  const folder = join(loop.deps.out, loop.sweepId);
  const trial = trialId === null ? null : loop.state().trials[trialId];
  if (trialId !== null && trial?.adoptedFrom != null)
    if (await linkResults(join(loop.deps.out, trial.adoptedFrom), folder, trialId)) return;
  const listed =
    trial == null ? loop.state().base?.manifest : (trial.manifest ?? (await storedManifest(loop, trial.id, runId)));
  if (listed == null)
    throw new BoraError("artifact_corrupt", `run ${runId} names no files for ${trialId ?? "the base model"}`, {
      hint: "retry the trial: bora retry",
    });
  const { trainer } = await loop.pool.reader(loop.state().runs[runId]?.trainerId ?? null);
  await fetchAll(trainer, folder, { trialId, runId, listed }, loop.signal);
}

/** Manifest first, then what it names; files that are there already are kept. */
async function fetchAll(
  trainer: Trainer,
  folder: string,
  { trialId, runId, listed }: { trialId: string | null; runId: string; listed: ResultManifest },
  signal: AbortSignal,
): Promise<void> {
  const manifest = { artifact: { ...listed, size: BigInt(listed.size) }, to: manifestFile(folder, trialId) };
  await mkdir(dirname(manifest.to), { recursive: true });
  await trainer.fetch(runId, manifest.artifact, manifest.to, signal);
  for (const file of await readResultFiles(folder, trialId)) {
    if (await isThere(file)) continue;
    await mkdir(dirname(file.to), { recursive: true });
    await trainer.fetch(runId, file.artifact, file.to, signal);
  }
}

/** What the trial's last event names, when another sweep trained it. */
async function storedManifest(loop: Loop, trialId: string, runId: string): Promise<ResultManifest | null> {
  for await (const { body } of loop.deps.store.read({ runId }))
    if (body.stream === "trainer" && body.event.trialId === trialId && body.event.body?.$case === "trialDone")
      return manifestOf(body.event.body.trialDone.manifest);
  return null;
}

/** Gives this sweep the files of another one, by hard link where the disk allows; false when some are missing there. */
export async function linkResults(from: string, to: string, trialId: string | null): Promise<boolean> {
  try {
    const theirs = await readResultFiles(from, trialId);
    for (const file of theirs) {
      if (!(await isThere(file))) return false;
      await linkOrCopy(file.to, join(to, file.to.slice(from.length)));
    }
    await linkOrCopy(manifestFile(from, trialId), manifestFile(to, trialId));
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await rm(to, { force: true });
  await link(from, to).catch(() => copyFile(from, to)); // another file system, or one without links
}
