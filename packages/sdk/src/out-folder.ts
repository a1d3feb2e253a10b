import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SweepResults } from "@bora/contracts";

export const sweepFolder = (dir: string, sweepId: string): string => join(dir, sweepId);

/** results.json of a sweep, or null when it is not there or not readable. */
export async function readResults(folder: string): Promise<SweepResults | null> {
  const text = await readFile(join(folder, "results.json"), "utf8").catch(() => null);
  if (text === null) return null;
  try {
    return SweepResults.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
