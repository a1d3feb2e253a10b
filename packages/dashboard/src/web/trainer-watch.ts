import { availableParallelism, freemem, hostname, loadavg, totalmem } from "node:os";
import type { TrainerLook } from "@bora/sdk/controller";
import type { Trainers } from "./page-api.js";
import type { SweepLibrary } from "./sweep-library.js";
import { packRow } from "./sweep-view.js";

const freshMs = 1_000;

/** The trainers of this machine, what they hold, and how busy they have been since the last look. */
export class TrainerWatch {
  private readonly seen = new Map<string, { at: number; cpuSeconds: number; share: number | null }>();
  private latest: { at: number; answer: Promise<Trainers> } | null = null;

  constructor(
    private readonly library: SweepLibrary,
    private readonly lookAtTrainers: () => Promise<TrainerLook[]>,
    private readonly now: () => number,
  ) {}

  look(): Promise<Trainers> {
    const at = this.now();
    if (this.latest === null || at - this.latest.at >= freshMs) this.latest = { at, answer: this.lookNow() };
    return this.latest.answer;
  }

  private async lookNow(): Promise<Trainers> {
    const [looks, packs] = await Promise.all([this.lookAtTrainers(), this.packs()]);
    const host = {
      ...{ name: hostname(), processors: availableParallelism(), load: loadavg()[0] ?? 0 },
      ...{ memoryBytes: totalmem(), freeBytes: freemem() },
    };
    const trainers = looks.map(({ cpuSeconds, ...look }) => ({
      ...look,
      cpuShare: this.share(look.trainerId, cpuSeconds),
      ...(packs.get(look.trainerId) ?? { pack: null, sweepId: null }),
    }));
    return { host, trainers };
  }

  private share(trainerId: string, cpuSeconds: number): number | null {
    const [at, before] = [this.now(), this.seen.get(trainerId)];
    const share =
      before === undefined || at <= before.at || cpuSeconds < before.cpuSeconds
        ? null
        : (1000 * (cpuSeconds - before.cpuSeconds)) / (at - before.at);
    this.seen.set(trainerId, { at, cpuSeconds, share });
    return share;
  }

  /** Packs that are not finished, by their trainer. */
  private async packs(): Promise<Map<string, Pick<Trainers["trainers"][number], "pack" | "sweepId">>> {
    const held = new Map<string, Pick<Trainers["trainers"][number], "pack" | "sweepId">>();
    for (const { sweepId, standing } of await this.library.list()) {
      if (standing === "done" || standing === "failed") continue;
      const { index } = await this.library.open(sweepId);
      for (const pack of index.progress.packs.values())
        if (pack.at !== "finished") held.set(pack.trainerId, { pack: packRow(index, pack), sweepId });
    }
    return held;
  }
}
