import { foldSweep, type SweepState } from "@bora/scheduler";
import type { StoreReader } from "@bora/store";
import { z } from "zod";
import type { SweepStatus } from "./lab.js";

const PartOf = z.object({ partOf: z.string().optional() });

/** Nobody renews the lease of a trial whose controller is gone: it is not running, whatever was stored last. */
function trialCounts(state: SweepState, live: boolean): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { state: trial } of Object.values(state.trials)) {
    const word = trial.at === "running" && !live ? "left off" : trial.at;
    counts[word] = (counts[word] ?? 0) + 1;
  }
  return counts;
}

/** Every sweep of a store, newest first; `live` is the one this process or a controller is at work on. */
export async function sweepStatuses(store: StoreReader, live: string | null): Promise<SweepStatus[]> {
  const statuses: SweepStatus[] = [];
  for (const { sweepId, name, plannedAtMs } of await store.sweeps()) {
    const state = await foldSweep(store, sweepId);
    const { phase } = state;
    statuses.push({
      ...{
        sweepId,
        name,
        plannedAtMs,
        phase: phase.at,
        live: live === sweepId,
        trials: trialCounts(state, live === sweepId),
      },
      outcome: phase.at === "ended" ? phase.outcome : null,
      partOf: PartOf.safeParse(state.experiment).data?.partOf ?? null,
      paused: phase.at === "paused" ? `${phase.code}: ${phase.reason}` : null,
    });
  }
  return statuses;
}
