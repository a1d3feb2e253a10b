import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { toBoraError, type BoraError } from "@bora/contracts";
import type { Clock } from "./clock.js";
import { asDiskError } from "./disk-error.js";
import { backoffMs } from "./retry-policy.js";

const probeBytes = 16 * 2 ** 20; // not so little that the first event would fill the disk again

/** Null when a file of 16 MiB can be written and synced there; otherwise why not. */
export async function roomIn(folder: string): Promise<BoraError | null> {
  const probe = join(folder, ".room");
  try {
    const file = await open(probe, "w");
    try {
      await file.writeFile(Buffer.alloc(probeBytes));
      await file.sync();
    } finally {
      await file.close();
      await rm(probe, { force: true });
    }
    return null;
  } catch (thrown) {
    return toBoraError(asDiskError(thrown));
  }
}

/** Looks after 5 s, 10 s, ... every 5 min whether there is room; true when there is, false when patience ends first. */
export async function waitForRoom(
  clock: Clock,
  look: () => Promise<BoraError | null>,
  patienceMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const sinceMs = clock.monotonicMs();
  for (let looks = 1; ; looks += 1) {
    await clock.sleep(backoffMs(looks), signal);
    if ((await look()) === null) return true;
    if (clock.monotonicMs() - sinceMs >= patienceMs) return false;
  }
}
