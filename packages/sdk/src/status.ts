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

function statusOf(state: SweepState, name: string, live: boolean): SweepStatus {
  const { sweepId, phase, plannedAtMs } = state;
  return {
    ...{ sweepId, name, plannedAtMs, phase: phase.at, live, trials: trialCounts(state, live) },
    outcome: phase.at === "ended" ? phase.outcome : null,
    partOf: PartOf.safeParse(state.experiment).data?.partOf ?? null,
    paused: phase.at === "paused" ? `${phase.code}: ${phase.reason}` : null,
  };
}

/**
 * Every sweep of a store, newest first. A sweep is folded when it is first asked for and when something was stored of it
 * since; the one that this process runs tells its own state.
 */
export class StatusBook {
  private readonly known = new Map<string, { position: number; held: boolean; status: SweepStatus }>();

  /**
   * `running`: the sweep that this process is at work on, and its state where it has stored anything. `elsewhere`: the one
   * that another process is at work on.
   */
  async statuses(
    store: StoreReader,
    running: { sweepId: string; state: SweepState | null } | null,
    elsewhere: string | null,
  ): Promise<SweepStatus[]> {
    const statuses: SweepStatus[] = [];
    for (const { sweepId, name } of await store.sweeps()) {
      if (running?.sweepId !== sweepId)
        statuses.push(await this.ofOthers(store, { sweepId, name }, sweepId === elsewhere));
      else statuses.push(statusOf(running.state ?? (await foldSweep(store, sweepId)), name, true));
    }
    return statuses;
  }

  /** `held`: another process holds the store, and its last events are of this sweep. */
  private async ofOthers(
    store: StoreReader,
    { sweepId, name }: { sweepId: string; name: string },
    held: boolean,
  ): Promise<SweepStatus> {
    let position = 0;
    for await (const event of store.read({ sweepId, newest: 1 })) position = event.position;
    const known = this.known.get(sweepId);
    if (known?.position === position && known.held === held) return known.status;
    const state = await foldSweep(store, sweepId);
    const status = statusOf(state, name, held && state.phase.at !== "ended");
    this.known.set(sweepId, { position, held, status });
    return status;
  }
}
