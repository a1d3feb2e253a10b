import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, SweepResults, isMissing, parseWith } from "@bora/contracts";
import { z } from "zod";

/** An experiment's name and a hash: never a way out of the folder that sweeps are in. */
const isSweepId = (text: string): boolean => /^[a-z0-9][a-z0-9-]{0,99}$/.test(text);

/** Throws sweep_unknown for what cannot be the id of one. */
export function sweepFolder(dir: string, sweepId: string): string {
  if (isSweepId(sweepId)) return join(dir, sweepId);
  throw new BoraError("sweep_unknown", `${JSON.stringify(sweepId.slice(0, 100))} is no sweep's id`, {
    hint: "bora status lists the sweeps of --out; a results folder can be named by its path",
  });
}

const Versioned = z.object({ schemaVersion: z.unknown() });
const readable = SweepResults.shape.schemaVersion.value;

/** A file of a sweep that is there and is not what it should be. */
export const corruptFile = (file: string, why: string, cause?: unknown): BoraError =>
  new BoraError("artifact_corrupt", `${file} cannot be read: ${why}`, {
    hint: "delete it and run bora report or the experiment's command again: it is made anew, nothing is trained twice",
    cause,
  });

/** results.json of a sweep's folder; null when it is not there. Throws results_version and artifact_corrupt. */
export async function readResults(folder: string): Promise<SweepResults | null> {
  const file = join(folder, "results.json");
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw corruptFile(file, `it is no JSON (${text.length} characters)`, cause);
  }
  const version = Versioned.safeParse(value).data?.schemaVersion;
  if (version !== undefined && version !== readable)
    throw new BoraError(
      "results_version",
      `${file} has schemaVersion ${JSON.stringify(version)}, this version of BoRA reads ${readable}`,
      { hint: "use the version that wrote it, or run the experiment's command again here: nothing is trained twice" },
    );
  const parsed = parseWith(SweepResults, value);
  if (parsed.success) return parsed.data;
  throw corruptFile(file, z.prettifyError(parsed.error).split("\n").slice(0, 2).join(" "), parsed.error);
}

/** The same, and null for one that cannot be used, where the store has all that it said. */
export const usableResults = (folder: string): Promise<SweepResults | null> =>
  readResults(folder).catch((thrown: unknown) => {
    if (thrown instanceof BoraError) return null;
    throw thrown;
  });
