import { BoraError, isMissing, type wire } from "@bora/contracts";
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";

/** The file's chunks from `offset` on; the last message carries the sha256 of all of it. */
export type ReadChunks = (offset: number) => AsyncIterable<wire.ReadArtifactResponse>;

interface Transferred {
  size: number;
  hash: Hash;
}

/** What an earlier transfer left at `path`; nothing when it is longer than the file can be. */
async function resume(path: string, limit: number): Promise<Transferred> {
  const hash = createHash("sha256");
  let size = 0;
  try {
    for await (const chunk of createReadStream(path)) {
      hash.update(chunk);
      size += chunk.length;
    }
  } catch (thrown) {
    if (!isMissing(thrown)) throw thrown;
  }
  if (size <= limit) return { size, hash };
  await rm(path);
  return { size: 0, hash: createHash("sha256") };
}

async function receive(
  file: FileHandle,
  have: Transferred,
  artifact: wire.Artifact,
  chunks: ReadChunks,
): Promise<void> {
  for await (const { chunk, sha256 } of chunks(have.size)) {
    have.size += chunk.length;
    if (have.size > Number(artifact.size)) throw corrupt(artifact, `more than ${artifact.size} bytes`);
    have.hash.update(chunk);
    await file.writeFile(chunk);
    if (sha256 !== "" && sha256 !== artifact.sha256) throw corrupt(artifact, `sha256 ${sha256} at its source`);
  }
}

const corrupt = (artifact: wire.Artifact, found: string): BoraError =>
  new BoraError(
    "artifact_corrupt",
    `${artifact.path} should have ${artifact.size} bytes and sha256 ${artifact.sha256}, but has ${found}`,
    { hint: "the transfer was damaged or the file changed: fetch it again, or retry its trial" },
  );

const isFull = (thrown: unknown): boolean =>
  thrown instanceof Error && "code" in thrown && (thrown.code === "ENOSPC" || thrown.code === "EDQUOT");

/**
 * Copies a file of a run to `to`: into `<to>.partial`, from where an earlier transfer broke off, checked against size
 * and sha256, made durable, then renamed, so that `to` is whole whenever it exists. A broken file is removed.
 * Throws artifact_corrupt, disk_full, and whatever the transfer throws.
 */
export async function fetchArtifact(artifact: wire.Artifact, to: string, chunks: ReadChunks): Promise<void> {
  const partial = `${to}.partial`;
  await mkdir(dirname(to), { recursive: true });
  try {
    const have = await resume(partial, Number(artifact.size));
    const file = await open(partial, "a");
    try {
      await receive(file, have, artifact, chunks);
      const sha256 = have.hash.digest("hex");
      if (have.size !== Number(artifact.size) || sha256 !== artifact.sha256)
        throw corrupt(artifact, `${have.size} bytes and sha256 ${sha256}`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, to);
  } catch (thrown) {
    if (thrown instanceof BoraError && thrown.code === "artifact_corrupt") await rm(partial, { force: true });
    if (!isFull(thrown)) throw thrown;
    throw new BoraError("disk_full", `no space for ${artifact.path} (${artifact.size} bytes) at ${to}`, {
      hint: "free some space; the transfer goes on where it stopped",
      cause: thrown,
    });
  }
}
