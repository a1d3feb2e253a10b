import { BoraError } from "@bora/contracts";

const full = new Set(["ENOSPC", "EDQUOT", "EROFS"]); // a read-only disk takes as little as a full one

/** A file system's own error as ours; anything else as it is. */
export function asDiskError(thrown: unknown): unknown {
  if (thrown instanceof BoraError || !(thrown instanceof Error) || !("code" in thrown)) return thrown;
  if (typeof thrown.code !== "string" || !("syscall" in thrown)) return thrown;
  return full.has(thrown.code)
    ? new BoraError("disk_full", thrown.message, {
        hint: "free space under the output folder (or make it writable): the sweep goes on by itself",
        cause: thrown,
      })
    : new BoraError("artifact_corrupt", `cannot keep a result file: ${thrown.message}`, {
        hint: "check the output folder's permissions",
        cause: thrown,
      });
}
