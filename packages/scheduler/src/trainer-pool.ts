import { BoraError } from "@bora/contracts";
import type { Placer, Placement } from "@bora/placement";
import type { ConnectTrainer, Trainer } from "@bora/trainer-client";
import type { Clock } from "./clock.js";

export interface Seat {
  trainerId: string;
  trainer: Trainer;
}

interface Entry {
  trainerId: string;
  busy: boolean;
  failedInRow: number; // attempts that ended by a fault of the machine
  address: string | null; // null until it is placed
  trainer: Promise<Trainer>;
}

export interface PoolPorts {
  placer: Placer;
  connectTrainer: ConnectTrainer;
  leaseMs: number;
  sweepId: string;
  clock: Clock;
  signal: AbortSignal;
}

const graceMs = 30_000; // longer than a checkpoint
const mostInRow = 2;
export const setAsideMs = 600_000;

/** The trainers this sweep has placed. One serves one run at a time, and is used again while it answers. */
export class TrainerPool {
  private readonly entries = new Map<string, Entry>();
  /** Where trainers ran whose machine failed, and when each may be tried again (monotonic), until a run there goes well. */
  private readonly doubtful = new Map<string, number>();
  private placed: number;

  /** `taken`: trainer ids of earlier controllers, which are not given to new trainers. */
  constructor(
    private readonly ports: PoolPorts,
    taken: readonly string[],
  ) {
    this.placed = Math.max(0, ...taken.map((id) => Number(/-t(\d+)$/.exec(id)?.[1] ?? 0)));
  }

  /** A trainer for one run: an idle one that answers, else a new one. Rejects as Placer.place does. */
  async reserve(): Promise<Seat> {
    for (const entry of this.entries.values()) {
      if (entry.busy) continue;
      entry.busy = true;
      const trainer = await this.answering(entry, true);
      if (trainer !== null) return { trainerId: entry.trainerId, trainer };
    }
    const entry = this.place(true);
    return { trainerId: entry.trainerId, trainer: await entry.trainer };
  }

  /** A trainer to read a run's files from: the one named, else any, else a new one. */
  async reader(trainerId: string | null): Promise<Seat> {
    const named = trainerId === null ? undefined : this.entries.get(trainerId);
    for (const entry of named === undefined ? this.entries.values() : [named, ...this.entries.values()]) {
      const trainer = await this.answering(entry, !entry.busy);
      if (trainer !== null) return { trainerId: entry.trainerId, trainer };
    }
    const entry = this.place(false);
    return { trainerId: entry.trainerId, trainer: await entry.trainer };
  }

  /** Takes in a trainer that an earlier controller placed. */
  async adopt(placement: Placement & { at: "ready" }, busy: boolean): Promise<Trainer> {
    const { trainerId } = placement;
    const trainer = await this.ports.connectTrainer(placement, this.ports.signal);
    this.entries.set(trainerId, {
      trainerId,
      busy,
      failedInRow: 0,
      address: placement.address,
      trainer: Promise.resolve(trainer),
    });
    return trainer;
  }

  free(trainerId: string): void {
    const entry = this.entries.get(trainerId);
    if (entry !== undefined) entry.busy = false;
  }

  /** Counts how an attempt ended; true when the trainer has failed so often in a row that it is to go. */
  count(trainerId: string, machineFailed: boolean): boolean {
    const entry = this.entries.get(trainerId);
    if (entry === undefined) return false;
    entry.failedInRow = machineFailed ? entry.failedInRow + 1 : 0;
    const onTrial = entry.address !== null && this.doubtful.has(entry.address); // it has one run to show that it works
    if (!machineFailed && entry.address !== null) this.doubtful.delete(entry.address);
    return entry.failedInRow >= (onTrial ? 1 : mostInRow);
  }

  /** Ends a trainer whose machine failed; where it runs on for others to take, it is not tried again for ten minutes. */
  async setAside(trainerId: string): Promise<void> {
    const address = this.entries.get(trainerId)?.address;
    if (address != null) this.doubtful.set(address, this.ports.clock.monotonicMs() + setAsideMs);
    await this.discard(trainerId);
  }

  /** Milliseconds until the next trainer that was set aside may be tried again; null when none is. */
  nextTrialMs(): number | null {
    const now = this.ports.clock.monotonicMs();
    const left = [...this.doubtful.values()].map((untilMs) => untilMs - now).filter((ms) => ms > 0);
    return left.length === 0 ? null : Math.min(...left);
  }

  private avoided(): string[] {
    const now = this.ports.clock.monotonicMs();
    return [...this.doubtful].flatMap(([address, untilMs]) => (untilMs > now ? [address] : []));
  }

  /** Ends a trainer that cannot be trusted any more; its process group is gone afterwards. */
  async discard(trainerId: string): Promise<void> {
    const entry = this.entries.get(trainerId);
    this.entries.delete(trainerId);
    await entry?.trainer.then((trainer) => trainer[Symbol.asyncDispose]()).catch(() => undefined); // it may never have answered
    await this.ports.placer.release(trainerId, graceMs, this.ports.signal);
  }

  async discardAll(): Promise<void> {
    await Promise.all([...this.entries.keys()].map((trainerId) => this.discard(trainerId)));
  }

  /** Lets go of the connections and leaves the trainers to their leases. */
  async disconnect(): Promise<void> {
    const all = [...this.entries.values()].map((entry) =>
      entry.trainer.then((trainer) => trainer[Symbol.asyncDispose]()),
    );
    this.entries.clear();
    await Promise.allSettled(all);
  }

  private place(busy: boolean): Entry {
    this.placed += 1;
    const trainerId = `${this.ports.sweepId}-t${this.placed}`;
    const placed = this.ports.placer.place(
      { trainerId, leaseMs: this.ports.leaseMs, avoid: this.avoided() },
      this.ports.signal,
    );
    const entry: Entry = { trainerId, busy, failedInRow: 0, address: null, trainer: this.connect(trainerId, placed) };
    placed.then(({ address }) => (entry.address = address)).catch(() => undefined); // whoever waits for the trainer is told
    this.entries.set(trainerId, entry);
    entry.trainer.catch(() => this.entries.delete(trainerId));
    return entry;
  }

  /** One that is placed but does not answer its first call goes again: nobody would know of it afterwards. */
  private async connect(trainerId: string, placed: Promise<Placement & { at: "ready" }>): Promise<Trainer> {
    const { placer, connectTrainer, signal } = this.ports;
    const ready = await placed;
    try {
      return await connectTrainer(ready, signal);
    } catch (thrown) {
      if (!signal.aborted) await placer.release(trainerId, graceMs, signal);
      throw thrown;
    }
  }

  /** The entry's trainer when it still answers; otherwise null, and it is gone if it was `ours` to end. */
  private async answering(entry: Entry, ours: boolean): Promise<Trainer | null> {
    try {
      const trainer = await entry.trainer;
      await trainer.describe(this.ports.signal);
      return trainer;
    } catch (thrown) {
      if (!(thrown instanceof BoraError) || this.ports.signal.aborted) throw thrown;
      if (ours) await this.discard(entry.trainerId);
      return null;
    }
  }
}
