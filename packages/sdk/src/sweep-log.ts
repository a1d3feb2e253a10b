import type { StoreReader } from "@bora/store";
import { sweepEvent, type SweepEvent } from "./sweep-event.js";

export interface LoggedSweep {
  sweepId: string;
  name: string;
  plannedAtMs: number;
}

/** What a folder's store holds, read beside whatever controller writes it; nothing waits for events to come. */
export interface SweepLog extends AsyncDisposable {
  /** Newest first; none where there is no store yet. Throws store_unavailable, store_newer, out_not_empty. */
  sweeps(): Promise<LoggedSweep[]>;
  /**
   * Stored events after a position, in order; with `aboutAtMost`, every n-th training window where there are more, and
   * everything else.
   */
  events(sweepId: string, afterPosition?: number, aboutAtMost?: number): AsyncIterable<SweepEvent>;
  /** The sweep that some process is at work on, by the last event that was stored while it held the store; else null. */
  atWork(): Promise<string | null>;
  /** The last event that is stored of a sweep; null where there is none. */
  last(sweepId: string): Promise<SweepEvent | null>;
}

/** A log over a way to open the store; a store that is not there yet reads as empty, so it is opened again. */
export class StoredSweepLog implements SweepLog {
  private opened: StoreReader | null = null;

  constructor(private readonly openReader: () => Promise<StoreReader>) {}

  async sweeps(): Promise<LoggedSweep[]> {
    const reader = await this.reader();
    const found = await reader.sweeps();
    if (found.length === 0) await this[Symbol.asyncDispose]();
    return found;
  }

  async *events(sweepId: string, afterPosition = 0, aboutAtMost?: number): AsyncIterable<SweepEvent> {
    const reader = await this.reader();
    const thin = aboutAtMost === undefined ? {} : { aboutAtMost };
    for await (const stored of reader.read({ sweepId, afterPosition, ...thin })) yield sweepEvent(stored);
  }

  async atWork(): Promise<string | null> {
    return (await (await this.reader()).writer())?.sweepId ?? null;
  }

  async last(sweepId: string): Promise<SweepEvent | null> {
    const reader = await this.reader();
    for await (const stored of reader.read({ sweepId, newest: 1 })) return sweepEvent(stored);
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const reader = this.opened;
    this.opened = null;
    await reader?.[Symbol.asyncDispose]();
  }

  private async reader(): Promise<StoreReader> {
    return (this.opened ??= await this.openReader());
  }
}
