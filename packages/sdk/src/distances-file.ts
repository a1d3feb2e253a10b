import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, isMissing, type TrialDistances } from "@bora/contracts";
import { z } from "zod";

const Numbers = z.array(z.number().min(0));

/** What a trainer writes of a trial's adapters: distances to Theta, and inner products between them. */
const DistancesFile = z.object({
  tasks: z.array(z.string()),
  factors: Numbers,
  changes: Numbers,
  priorMean: z.number().min(0),
  gram: z.array(z.array(z.number())),
});
export type DistancesFile = z.infer<typeof DistancesFile>;

/** A trial's distances.json in a sweep's folder; null when there is none. Throws artifact_corrupt. */
export async function readDistances(folder: string, trialId: string): Promise<DistancesFile | null> {
  const file = join(folder, "trials", trialId, "distances.json");
  try {
    const found = DistancesFile.parse(JSON.parse(await readFile(file, "utf8")));
    const lengths = [found.factors, found.changes, found.gram, ...found.gram].map(({ length }) => length);
    if (lengths.every((length) => length === found.tasks.length)) return found;
    throw new RangeError(`${found.tasks.length} tasks, but ${lengths.join(", ")} numbers`);
  } catch (cause) {
    if (isMissing(cause)) return null;
    throw new BoraError("artifact_corrupt", `${file} holds no distances between adapters: ${String(cause)}`, {
      hint: "delete it: everything but distances and map is reported without",
      cause,
    });
  }
}

/** For results.json, in the order of its tasks; null where the file is of other tasks. */
export function distancesOf(file: DistancesFile | null, tasks: readonly string[]): TrialDistances | null {
  const places = tasks.map((task) => file?.tasks.indexOf(task) ?? -1);
  if (file === null || places.includes(-1)) return null;
  const inOrder = (values: readonly number[]) => places.map((place) => values[place] ?? NaN);
  return { factors: inOrder(file.factors), changes: inOrder(file.changes), priorMean: file.priorMean };
}

/** Inner products [task][task] in the order of `tasks`; null where the file is of other tasks. */
export function gramOf(file: DistancesFile | null, tasks: readonly string[]): number[][] | null {
  const places = tasks.map((task) => file?.tasks.indexOf(task) ?? -1);
  if (file === null || places.includes(-1)) return null;
  return places.map((row) => places.map((column) => file.gram[row]?.[column] ?? NaN));
}
