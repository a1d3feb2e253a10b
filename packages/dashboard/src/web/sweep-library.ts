import { setTimeout as delay } from "node:timers/promises";
import { BoraError, type SweepResults } from "@bora/contracts";
import type { Lab, SweepHandle } from "@bora/sdk";
import type { SweepLog } from "@bora/sdk/controller";
import type { EventLine, Standing, SweepRow } from "./page-api.js";
import { resultsSoFar } from "./results-so-far.js";
import { SweepIndex } from "./sweep-index.js";
import { sweepRow, type Known } from "./sweep-view.js";

const aboutAtMost = 40_000; // training windows of a log that are read: more than all curves have points
const restEvery = 2_000; // events
const pollMs = 1_000; // where nobody tells of new events

/** Which sweeps a controller is at work on; null: there is one, and it has not answered yet. */
export type LiveSweeps = () => Promise<ReadonlySet<string> | null>;

export interface LibraryParts {
  log: SweepLog;
  lab: Pick<Lab, "follow" | "results">;
  live: LiveSweeps;
  pollMs?: number;
}

interface Entry {
  index: SweepIndex;
  reading: Promise<void> | null;
  watchers: Set<Watcher>;
  stop: AbortController | null; // of the tail
  results: { position: number; results: SweepResults | null };
}

export interface Watcher {
  line(line: EventLine): void;
  changed(): void;
}

const unknownSweep = (sweepId: string): BoraError =>
  new BoraError("sweep_unknown", `this folder holds no sweep ${sweepId}`, {
    hint: "the list of sweeps names them all",
  });

/** Every sweep of a folder as the page shows it, kept up to the log whenever somebody asks. */
export class SweepLibrary {
  private readonly entries = new Map<string, Entry>();

  constructor(private readonly parts: LibraryParts) {}

  async list(): Promise<SweepRow[]> {
    const rows: SweepRow[] = [];
    for (const { sweepId } of await this.parts.log.sweeps()) {
      const { index, known } = await this.open(sweepId);
      rows.push(sweepRow(index, known));
    }
    return rows;
  }

  /** A sweep with everything that is stored of it. Throws sweep_unknown. */
  async open(sweepId: string): Promise<{ index: SweepIndex; known: Known }> {
    const entry = await this.caughtUp(sweepId);
    const { index } = entry;
    const standing = await this.standing(index);
    const results = await this.results(entry);
    return { index, known: { standing, results, reason: reasonOf(index, standing) } };
  }

  /** Tells of what comes until the signal; lines after a position come first. */
  async watch(sweepId: string, afterPosition: number, watcher: Watcher, signal: AbortSignal): Promise<void> {
    const entry = await this.caughtUp(sweepId);
    if (signal.aborted) return;
    for (const line of entry.index.lines) if (line.position > afterPosition) watcher.line(line);
    watcher.changed();
    entry.watchers.add(watcher);
    entry.stop ??= this.tail(entry);
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => {
        resolve();
      });
    });
    entry.watchers.delete(watcher);
    if (entry.watchers.size > 0) return;
    entry.stop.abort();
    entry.stop = null;
  }

  private async caughtUp(sweepId: string): Promise<Entry> {
    const entry = this.entries.get(sweepId) ?? {
      ...{ index: new SweepIndex(sweepId), reading: null, watchers: new Set<Watcher>(), stop: null },
      results: { position: -1, results: null },
    };
    await (entry.reading ??= this.read(entry).finally(() => {
      entry.reading = null;
    }));
    if (entry.index.position === 0) throw unknownSweep(sweepId);
    this.entries.set(sweepId, entry);
    return entry;
  }

  private async read(entry: Entry): Promise<void> {
    const { index } = entry;
    let events = 0;
    for await (const event of this.parts.log.events(index.sweepId, index.position, aboutAtMost)) {
      this.fold(entry, event);
      events += 1;
      if (events % restEvery === 0) await new Promise((resolve) => setImmediate(resolve)); // others are served meanwhile
    }
    if (events > 0) for (const watcher of entry.watchers) watcher.changed();
  }

  private fold({ index, watchers }: Entry, event: Parameters<SweepIndex["apply"]>[0]): void {
    const line = index.apply(event);
    if (line !== null) for (const watcher of watchers) watcher.line(line);
  }

  /** Follows the controller while there is one, and looks into the log where there is none. */
  private tail(entry: Entry): AbortController {
    const stop = new AbortController();
    const { signal } = stop;
    const run = async (): Promise<void> => {
      while (!signal.aborted) {
        await this.followController(entry, signal).catch(() => undefined); // it left: the log has what it stored
        await delay(this.parts.pollMs ?? pollMs, undefined, { signal });
        await this.caughtUp(entry.index.sweepId);
      }
    };
    run().catch(() => undefined); // stopped; a log that cannot be read is told to whoever asks next
    return stop;
  }

  private async followController(entry: Entry, signal: AbortSignal): Promise<void> {
    const { sweepId } = entry.index;
    if (!(await this.parts.live())?.has(sweepId)) return;
    const handle = await this.parts.lab.follow(sweepId);
    const leave = () => {
      if (handle.at === "elsewhere") handle.abandon();
    };
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    await this.pour(entry, handle, signal).finally(() => {
      signal.removeEventListener("abort", leave);
    });
  }

  private async pour(entry: Entry, handle: SweepHandle, signal: AbortSignal): Promise<void> {
    for await (const event of handle.events(entry.index.position)) {
      if (signal.aborted) return;
      this.fold(entry, event);
      for (const watcher of entry.watchers) watcher.changed();
    }
  }

  private async standing(index: SweepIndex): Promise<Standing> {
    const { outcome, paused, draining } = index.progress;
    if (outcome !== null) return outcome;
    const live = await this.parts.live();
    if (live === null) return "unknown";
    if (!live.has(index.sweepId)) return "left";
    if (index.cancelling) return "cancelling";
    if (draining) return "draining";
    return paused === null ? "running" : "paused";
  }

  /** results.json once the sweep has ended; before, and where it cannot be read, what the events say. */
  private async results(entry: Entry): Promise<SweepResults | null> {
    const { index, results } = entry;
    if (results.position === index.position) return results.results;
    const { outcome } = index.progress;
    const read = outcome === null ? null : await this.parts.lab.results(index.sweepId).catch(() => null);
    const written = read !== null && isOf(index, read) ? read : null;
    const found = written ?? resultsSoFar(index);
    if (written !== null || outcome === null) entry.results = { position: index.position, results: found };
    return found;
  }
}

/** Whether results are of this end: the file of an earlier one stands for some moments after a sweep has ended again. */
function isOf({ progress: { trials } }: SweepIndex, results: SweepResults): boolean {
  const done = new Set(results.trials.filter(({ state }) => state === "done").map(({ id }) => id));
  return [...trials.values()].every(({ id, at }) => done.has(id) === (at === "done" || at === "adopted"));
}

function reasonOf({ failure, progress: { paused } }: SweepIndex, standing: Standing): Known["reason"] {
  if (standing === "failed") return failure;
  if ((standing !== "stopped" && standing !== "paused") || paused === null) return null;
  const [code = "", ...rest] = paused.split(": ");
  return { code, message: rest.join(": "), hint: "mend the cause, then resume" };
}
