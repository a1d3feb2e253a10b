import { createHash, type Hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { SweepResults, wire } from "@bora/contracts";
import { foldSweep } from "@bora/scheduler";
import { checkStore, openStore, type StoreLocation } from "@bora/store";
import type { Told } from "./fake-trainers.js";
import { equals, type Figure } from "./figures.js";

/** What became of what trainers told: how many events, and how many of their runs are not stored as they were told. */
async function compareLogs(
  location: StoreLocation,
  told: readonly Told[],
): Promise<{ stored: number; unlike: number }> {
  await using store = await openStore({ ...location, mode: "read" });
  const hashes = new Map<string, Hash>(told.map(({ runId }) => [runId, createHash("sha256")]));
  let stored = 0;
  for await (const { runId, body } of store.read({})) {
    if (body.stream !== "trainer") continue;
    hashes.get(runId)?.update(wire.Event.encode(body.event).finish());
    stored += 1;
  }
  const unlike = told.filter(({ runId, sha256 }) => hashes.get(runId)?.digest("hex") !== sha256).length;
  return { stored, unlike };
}

/** Whether the state from the newest snapshot on is the fold of all events. */
async function foldsAgree(location: StoreLocation, sweepId: string): Promise<boolean> {
  await using store = await openStore({ ...location, mode: "read" });
  const withoutSnapshot = { read: store.read.bind(store), snapshot: () => Promise.resolve(null) };
  return isDeepStrictEqual(await foldSweep(store, sweepId), await foldSweep(withoutSnapshot, sweepId));
}

/** Everything that was told is in the store, once, in order, with the same bytes; the state is its fold; every trial is done. */
export async function checkSweep(
  location: StoreLocation,
  { out, sweepId, trials, told }: { out: string; sweepId: string; trials: number; told: readonly Told[] },
): Promise<Figure[]> {
  const sent = told.reduce((sum, { events }) => sum + events, 0);
  const { stored, unlike } = await compareLogs(location, told);
  const { problems } = await checkStore(location);
  for (const problem of problems) console.log(`  ${problem}`);
  const results = SweepResults.parse(JSON.parse(readFileSync(join(out, sweepId, "results.json"), "utf8")));
  return [
    equals("events stored", stored, sent),
    equals("runs stored with other bytes, or in another order", unlike, 0),
    equals("problems that the store's own check finds", problems.length, 0),
    equals("states that are not the fold of their events", (await foldsAgree(location, sweepId)) ? 0 : 1, 0),
    equals("trials with a result", results.trials.filter(({ state }) => state === "done").length, trials),
  ];
}
