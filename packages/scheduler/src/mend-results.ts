import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, isMissing } from "@bora/contracts";
import { fetchResults } from "./fetch-results.js";
import type { Loop } from "./loop.js";
import { documentsFolder, isThere, manifestFile, readResultFiles } from "./result-files.js";

/**
 * Looks at the result files that an earlier controller fetched, before the sweep goes on: what was cut, lost or changed on
 * the disk meanwhile is brought in again, or its trial loses its result. Sizes of all files, content of the documents.
 */
export async function mendResults(loop: Loop): Promise<void> {
  const { trials, base } = loop.state();
  for (const { id, state, fetched, runId } of Object.values(trials))
    if (state.at === "done" && fetched && runId !== null) await mend(loop, id, runId);
  if (base?.fetched === true) await mend(loop, null, base.runId);
}

async function mend(loop: Loop, trialId: string | null, runId: string): Promise<void> {
  const folder = join(loop.deps.out, loop.sweepId);
  if (await isWhole(folder, trialId)) return;
  const what = trialId === null ? "the base model's" : `trial ${trialId}'s`;
  loop.notice(
    new BoraError("artifact_corrupt", `${what} result files in ${folder} are not what was fetched`, {
      hint: "they are fetched again; check the disk",
    }),
  );
  await rm(manifestFile(folder, trialId), { force: true });
  await rm(join(documentsFolder(folder, trialId), "documents.jsonl"), { force: true });
  await fetchResults(loop, trialId, runId);
}

async function isWhole(folder: string, trialId: string | null): Promise<boolean> {
  try {
    const [documents, ...adapters] = await readResultFiles(folder, trialId);
    if (documents === undefined) return false;
    const sha256 = createHash("sha256")
      .update(await readFile(documents.to))
      .digest("hex");
    const sizes = await Promise.all(adapters.map(isThere));
    return sha256 === documents.artifact.sha256 && sizes.every(Boolean);
  } catch (error) {
    if (isMissing(error) || error instanceof BoraError) return false;
    throw error;
  }
}
