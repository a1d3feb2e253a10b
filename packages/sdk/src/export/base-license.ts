import { readFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";

/** What a base model's own card or configuration says its licence is; null when they say nothing or are not here. */
export async function baseLicense(modelName: string): Promise<string | null> {
  if (!isAbsolute(modelName)) return null; // a hub id: its card is not among the files that are fetched
  const card = await readFile(join(modelName, "README.md"), "utf8").catch(() => "");
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card)?.[1] ?? "";
  const said = /^license:[ \t]*["']?([\w.+-]+)/m.exec(front)?.[1];
  return said ?? (await configLicense(modelName));
}

async function configLicense(folder: string): Promise<string | null> {
  try {
    const config: unknown = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
    const found: unknown = typeof config === "object" && config !== null ? Reflect.get(config, "license") : null;
    return typeof found === "string" && found !== "" ? found : null;
  } catch {
    return null;
  }
}
