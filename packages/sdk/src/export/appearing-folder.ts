import { access, mkdir, mkdtemp, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { BoraError } from "@bora/contracts";

export const exportFile = "bora-export.json";

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Throws target_exists unless `folder` may be written: not there, empty, or with `force` an earlier export. */
export async function checkTarget(folder: string, force: boolean): Promise<void> {
  if (!(await isThere(folder))) return;
  const entries = await readdir(folder).catch((cause: unknown) => {
    throw new BoraError("target_exists", `${folder} is there and is no folder`, { hint: "name another one", cause });
  });
  if (entries.length === 0) return;
  const ours = entries.includes(exportFile);
  if (ours && force) return;
  throw new BoraError("target_exists", `${folder} is there and holds ${entries.length} entries`, {
    hint: ours ? "name another folder, or give --force to replace this export" : "it is no export: name another folder",
  });
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Lets `fill` write into an empty folder beside `folder`, which takes its place when all went well; or nothing is left. */
export async function appearing<T>(folder: string, fill: (beside: string) => Promise<T>): Promise<T> {
  const parent = dirname(folder);
  const prefix = `.${basename(folder)}.unfinished-`;
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent))
    // of a process that was killed
    if (name.startsWith(prefix)) await rm(join(parent, name), { recursive: true, force: true });
  const beside = await mkdtemp(join(parent, prefix));
  try {
    const filled = await fill(beside);
    await syncFolder(beside);
    const before = `${beside}-before`;
    if (await isThere(folder)) await rename(folder, before);
    await rename(beside, folder);
    await syncFolder(parent);
    await rm(before, { recursive: true, force: true });
    return filled;
  } catch (thrown) {
    await rm(beside, { recursive: true, force: true });
    throw thrown;
  }
}
