import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

/** Who runs the sweeps of a folder and how to speak to it: `<out>/controller.json`, readable by its owner only. */
export const ControllerFile = z.object({
  pid: z.number(),
  host: z.string(),
  url: z.string(),
  token: z.string(),
  startedAt: z.string(),
});
export type ControllerFile = z.infer<typeof ControllerFile>;

export const controllerFilePath = (dir: string): string => join(dir, "controller.json");

/** The file's content, or null when there is none or it is being replaced. Says nothing of whether the process lives. */
export async function readControllerFile(dir: string): Promise<ControllerFile | null> {
  const text = await readFile(controllerFilePath(dir), "utf8").catch(() => null);
  if (text === null) return null;
  try {
    return ControllerFile.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
