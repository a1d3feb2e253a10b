import { foldSweep, type SweepState } from "@bora/scheduler";
import type { StoreReader } from "@bora/store";
import { z } from "zod";
import type { SweepStatus } from "./lab.js";

const PartOf = z.object({ partOf: z.string().optional() });

function trialCounts(state: SweepState): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const trial of Object.values(state.trials)) counts[trial.state.at] = (counts[trial.state.at] ?? 0) + 1;
  return counts;
}

/** Every sweep of a store, newest first; `live` is the one this process or a controller is at work on. */
export async function sweepStatuses(store: StoreReader, live: string | null): Promise<SweepStatus[]> {
  const statuses: SweepStatus[] = [];
  for (const { sweepId, name, plannedAtMs } of await store.sweeps()) {
    const state = await foldSweep(store, sweepId);
    const { phase } = state;
    statuses.push({
      ...{ sweepId, name, plannedAtMs, phase: phase.at, live: live === sweepId, trials: trialCounts(state) },
      outcome: phase.at === "ended" ? phase.outcome : null,
      partOf: PartOf.safeParse(state.experiment).data?.partOf ?? null,
      paused: phase.at === "paused" ? `${phase.code}: ${phase.reason}` : null,
    });
  }
  return statuses;
}
