import { BoraError, isMissing, type wire } from "@bora/contracts";
import { readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";

const FileEntry = z.object({
  path: z.string().min(1),
  size: z.int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** A trainer's list of the files that a trial (or the base model) left behind. */
const Manifest = z.object({
  documents: FileEntry,
  distances: FileEntry.optional(), // of a trial whose adapters were compared; older trainers compare none
  adapters: z.record(z.string().regex(/^[A-Za-z0-9][\w.-]*$/), z.array(FileEntry)).default({}), // by slug of a task
});

export interface ResultFile {
  artifact: wire.Artifact;
  to: string;
}

const fileName = z.string().regex(/^[A-Za-z0-9][\w.-]*$/); // never a way out of its folder

/** Folder of a trial's documents in a sweep's folder; of the base model's for null. */
export const documentsFolder = (sweepFolder: string, trialId: string | null): string =>
  trialId === null ? join(sweepFolder, "base") : join(sweepFolder, "trials", trialId);

export const manifestFile = (sweepFolder: string, trialId: string | null): string =>
  join(documentsFolder(sweepFolder, trialId), "manifest.json");

/** Where every file that a manifest names belongs. Rejects with artifact_corrupt when the manifest is not one. */
export async function readResultFiles(sweepFolder: string, trialId: string | null): Promise<ResultFile[]> {
  const file = manifestFile(sweepFolder, trialId);
  try {
    const manifest = Manifest.parse(JSON.parse(await readFile(file, "utf8")));
    const entry = ({ path, size, sha256 }: z.infer<typeof FileEntry>, folder: string): ResultFile => ({
      artifact: { path, size: BigInt(size), sha256 },
      to: join(folder, fileName.parse(basename(path))),
    });
    const adapters = Object.entries(manifest.adapters).flatMap(([slug, files]) =>
      files.map((one) => entry(one, join(sweepFolder, "adapters", trialId ?? "", slug))),
    );
    const documents = {
      ...entry(manifest.documents, ""),
      to: join(documentsFolder(sweepFolder, trialId), "documents.jsonl"),
    };
    const { distances } = manifest;
    const compared = distances && {
      ...entry(distances, ""),
      to: join(documentsFolder(sweepFolder, trialId), "distances.json"),
    };
    return [documents, ...(compared === undefined ? [] : [compared]), ...adapters];
  } catch (cause) {
    if (isMissing(cause)) throw cause;
    throw new BoraError("artifact_corrupt", `${file} is no list of result files: ${String(cause)}`, {
      hint: "delete it and run the same command again",
      cause,
    });
  }
}

/** Whether a file is there with the size it should have; transfers are checked by content and moved in whole. */
export async function isThere({ artifact, to }: ResultFile): Promise<boolean> {
  const found = await stat(to).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  return found !== null && BigInt(found.size) === artifact.size;
}
