import { setTimeout as delay } from "node:timers/promises";
import { BoraError, type SweepResults } from "@bora/contracts";
import type { Lab } from "@bora/sdk";
import type { LoggedSweep, SweepLog } from "@bora/sdk/controller";
import type { EventLine, Standing, SweepRow } from "./page-api.js";
import { resultsSoFar } from "./results-so-far.js";
import { SweepIndex } from "./sweep-index.js";
import { endedRow, sweepRow, type Known } from "./sweep-view.js";

const aboutAtMost = 10_000; // training windows of a log that are read: more than its figures show
const restEvery = 500; // events
const pollMs = 500; // a page is told of what changed at most so often

/** Which sweeps a controller is at work on; null: there is one, and it has not answered yet. */
export type LiveSweeps = () => Promise<ReadonlySet<string> | null>;

export interface LibraryParts {
  log: SweepLog;
  lab: Pick<Lab, "results">;
  live: LiveSweeps;
  pollMs?: number;
}

interface Entry {
  index: SweepIndex;
  reading: Promise<void> | null;
  watchers: Set<Watcher>;
  stop: AbortController | null; // of the tail
  results: { revision: number; results: SweepResults | null };
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
    for (const sweep of await this.parts.log.sweeps()) rows.push(await this.row(sweep));
    return rows;
  }

  /** Of a sweep that has ended what its results say, so that a list of many reads the events of none. */
  private async row(sweep: LoggedSweep): Promise<SweepRow> {
    const { sweepId } = sweep;
    if (!this.entries.has(sweepId)) {
      const last = await this.parts.log.last(sweepId);
      const results = last?.event.kind === "sweep_ended" ? await this.written(sweepId) : null;
      if (last?.event.kind === "sweep_ended" && results !== null)
        return endedRow(sweep, { outcome: last.event.outcome, lastAtMs: last.at }, results);
    }
    const { index, known } = await this.open(sweepId);
    return sweepRow(index, known);
  }

  /** A sweep with everything that is stored of it; of one that is watched, as it was last looked at. Throws sweep_unknown. */
  async open(sweepId: string): Promise<{ index: SweepIndex; known: Known }> {
    const watched = this.entries.get(sweepId);
    const entry = watched != null && watched.stop !== null ? watched : await this.caughtUp(sweepId);
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
      results: { revision: -1, results: null },
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

  /** Looks into the log while somebody watches: it has every event before anybody hears of it, and costs its writer nothing. */
  private tail(entry: Entry): AbortController {
    const stop = new AbortController();
    const { signal } = stop;
    const run = async (): Promise<void> => {
      while (!signal.aborted) {
        await delay(this.parts.pollMs ?? pollMs, undefined, { signal });
        await this.caughtUp(entry.index.sweepId).catch(() => undefined); // told to whoever asks next
      }
    };
    run().catch(() => undefined); // stopped
    return stop;
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

  /** results.json; null where it is not there, or not readable. */
  private written(sweepId: string): Promise<SweepResults | null> {
    return this.parts.lab.results(sweepId).catch(() => null);
  }

  /** results.json once the sweep has ended; before, and where it cannot be read, what the events say. */
  private async results(entry: Entry): Promise<SweepResults | null> {
    const { index, results } = entry;
    if (results.revision === index.revision) return results.results;
    const { outcome } = index.progress;
    const read = outcome === null ? null : await this.written(index.sweepId);
    const written = read !== null && isOf(index, read) ? read : null;
    const found = written ?? resultsSoFar(index);
    if (written !== null || outcome === null) entry.results = { revision: index.revision, results: found };
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
