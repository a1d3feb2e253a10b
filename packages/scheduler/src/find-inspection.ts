import {
  adapterFolders,
  contentHash,
  controlStream,
  parseExperiment,
  type ExperimentSpec,
  type Inspected,
} from "@bora/contracts";
import { isEvaluation } from "./plan.js";
import type { Store } from "@bora/store";
import { stat } from "node:fs/promises";

/**
 * The newest stored inspection of the same model, data and adapter, if none of the files it read has changed since (size
 * and time of modification); otherwise null, and a trainer has to look. One that names no files proves nothing; one from
 * before memory was measured is made again.
 */
export async function findInspection(
  store: Pick<Store, "read" | "sweeps">,
  spec: ExperimentSpec,
): Promise<Inspected | null> {
  const wanted = inspectedPart(spec);
  for (const { sweepId } of await store.sweeps()) {
    const stored = await planOf(store, sweepId);
    if (stored === null || inspectedPart(parseExperiment(stored.experiment)) !== wanted) continue;
    return stored.inspected.device !== "" && (await isCurrent(stored.inspected)) ? stored.inspected : null;
  }
  return null;
}

function inspectedPart(spec: ExperimentSpec): string {
  const { model, data, adapter } = spec;
  const folders = adapterFolders(spec);
  return contentHash({ model, data, adapter, ...(folders.length > 0 && { folders, scored: isEvaluation(spec) }) });
}

async function planOf(store: Pick<Store, "read">, sweepId: string) {
  for await (const { body } of store.read({ runId: controlStream(sweepId) }))
    if (body.stream === "control" && body.event.kind === "sweep_planned") return body.event;
  return null;
}

async function isCurrent({ files }: Inspected): Promise<boolean> {
  const same = await Promise.all(
    files.map(async ({ path, size, modifiedMs }) => {
      const found = await stat(path, { bigint: true }).catch(() => null); // gone, or not ours to read: look again
      return found !== null && found.size === BigInt(size) && found.mtimeNs / 1_000_000n === BigInt(modifiedMs);
    }),
  );
  return files.length > 0 && same.every(Boolean);
}
