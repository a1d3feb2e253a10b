import {
  controlStream,
  toBoraError,
  type BoraError,
  type ControlEvent,
  type ErrorCode,
  type ExperimentSpec,
  type Inspected,
  type Plan,
  type wire,
} from "@bora/contracts";
import type { NewEvent, StoredEvent } from "@bora/store";
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { endLeftTrainers, takeOver } from "./boot.js";
import { decide, nextWakeMs, type Command } from "./decide.js";
import { evolveAll } from "./evolve.js";
import { fetchResults } from "./fetch-results.js";
import { foldSweep } from "./fold-sweep.js";
import { Inbox, type Message } from "./inbox.js";
import { launch, type Attempts } from "./launch.js";
import { asFailure, type Loop, type SweepDeps } from "./loop.js";
import { adoptions, opening } from "./open-sweep.js";
import { mendResults } from "./mend-results.js";
import { judge } from "./retry-policy.js";
import type { RequeueSelection } from "./retry-selection.js";
import { applyVerb, type SweepControl } from "./sweep-control.js";
import type { SweepOutcome, SweepState } from "./sweep-state.js";
import { Snapshots } from "./snapshot.js";
import { TrainerPool } from "./trainer-pool.js";
import { roomIn, waitForRoom } from "./wait-for-room.js";

/** A new sweep, or one that the store already holds (then its stored plan counts). */
export type SweepRequest = ({ plan: Plan; experiment: ExperimentSpec; inspected: Inspected } | { sweepId: string }) & {
  requeue?: RequeueSelection; // trials to send back to the queue first
  control?: SweepControl;
  onProgress?: (progress: SweepProgress) => void;
};

/** An event that has just become durable (the state has all that were stored with it), or a passing notice (a silent trainer, a full disk) that is not stored. */
export type SweepProgress =
  | { kind: "event"; event: StoredEvent; state: SweepState }
  | { kind: "notice"; code: ErrorCode; message: string; hint: string };

export interface SweepEnd {
  outcome: SweepOutcome;
  state: SweepState;
}

/**
 * Runs a sweep until every trial ended, or a verb or a breaker stops it. The same call on the same store resumes; on a
 * finished sweep it returns at once. The outcome "stopped" carries its reason in `state.pausedBy`.
 * Rejects with sweep_unknown, store_unavailable, disk_full.
 */
export async function runSweep(deps: SweepDeps, request: SweepRequest): Promise<SweepEnd> {
  const sweepId = "sweepId" in request ? request.sweepId : request.plan.sweepId;
  const loop = new SweepLoop(withDefaults(deps), await foldSweep(deps.store, sweepId), request);
  return loop.run();
}

const withDefaults = (deps: SweepDeps): Required<SweepDeps> => ({
  leaseMs: 60_000,
  maxTrainers: 1,
  newRunId: randomUUID,
  storePatienceMs: 300_000,
  diskPatienceMs: 12 * 3_600_000,
  roomIn,
  ...deps,
});

const storeRetryMs = 1_000;
const batchSize = 1_024; // of a transaction, as many as the inbox has room for: a slow disk makes them larger, not later
const gatherMs = 50; // that a training window or an evaluation waits for others: a transaction costs a write to the disk
const mostFetches = 8; // at once: a pack of hundreds ends in one moment, and a trainer has to answer its other calls too
const refusals = new Set<ErrorCode>(["event_conflict", "stale_attempt"]); // of one run's events

class SweepLoop implements Loop {
  readonly sweepId: string;
  readonly pool: TrainerPool;
  readonly signal: AbortSignal;
  private readonly over = new AbortController();
  private readonly inbox = new Inbox();
  private readonly attempts: Attempts = new Map();
  private readonly inFlight = new Map<string, Promise<void>>();
  private readonly snapshots: Snapshots;
  private launching = 0;
  private fetching = 0;
  private abandoned = false;
  private blockedSinceMs: number | null = null;
  private blockedLastMs = -Infinity;

  constructor(
    readonly deps: Required<SweepDeps>,
    private current: SweepState,
    private readonly request: SweepRequest,
  ) {
    this.sweepId = current.sweepId;
    this.snapshots = new Snapshots(deps.store);
    this.signal = this.over.signal;
    setMaxListeners(0, this.signal); // every call to a trainer listens to it
    const { placer, connectTrainer, leaseMs, clock } = deps;
    const taken = Object.values(current.runs).map(({ trainerId }) => trainerId);
    const { sweepId, signal } = this;
    this.pool = new TrainerPool({ placer, connectTrainer, leaseMs, clock, sweepId, signal }, taken);
  }

  state(): SweepState {
    return this.current;
  }

  async run(): Promise<SweepEnd> {
    try {
      await this.open();
      await this.work();
      await this.snapshots.atEnd(this.current);
      if (!this.abandoned) await this.pool.discardAll();
      return { outcome: this.outcome(), state: this.current };
    } finally {
      this.over.abort();
      await this.pool.disconnect();
    }
  }

  /** Stores what this call begins with, then takes over what an earlier controller left. */
  private async open(): Promise<void> {
    await this.store(opening(this.current, this.request));
    if (this.current.phase.at === "ended") return endLeftTrainers(this);
    await this.store(await adoptions(this.deps.store, this.deps.out, this.current));
    this.request.control?.listen((verb) => {
      this.abandoned ||= verb.verb === "abandon";
      void this.record((state) => applyVerb(state, verb));
    });
    this.spawn("take over", async () => {
      const adopted = await takeOver(this, this.attempts);
      adopted.forEach((following, index) => this.spawn(`adopted ${index}`, () => following));
      await mendResults(this);
    });
  }

  /** The only loop: what arrived is stored, then applied, then acted on. */
  private async work(): Promise<void> {
    while (this.current.phase.at !== "ended" && !this.abandoned) {
      if (this.takenOver) await this.act();
      await this.pause();
      await this.apply(this.inbox.take());
    }
  }

  private get takenOver(): boolean {
    return !this.inFlight.has("take over");
  }

  /** Stores what the state itself decides, until it decides nothing more, and sends out the rest. */
  private async act(): Promise<void> {
    for (;;) {
      const commands = decide(this.current, this.deps.clock.wallMs(), this.deps);
      const records = commands.flatMap((command) => (command.do === "record" ? command.events : []));
      if (records.length === 0) return void commands.forEach((command) => this.execute(command));
      await this.store(records);
    }
  }

  private execute(command: Command): void {
    switch (command.do) {
      case "record":
        return;
      case "stop":
        return this.attempts.get(command.runId)?.stop(command.mode);
      case "fetch":
        if (this.inFlight.has(command.key) || this.fetching >= mostFetches) return;
        this.fetching += 1;
        return this.spawn(command.key, () =>
          fetchResults(this, command.trialId, command.runId).finally(() => {
            this.fetching -= 1;
          }),
        );
      case "wait for room":
        return this.spawn(command.key, () => this.waitForRoom());
      case "launch":
        if (this.inFlight.has(command.key) || this.launching >= this.deps.maxTrainers) return;
        this.launching += 1;
        return this.spawn(command.key, () =>
          launch(this, this.attempts, command).finally(() => {
            this.launching -= 1;
          }),
        );
      default:
        return command satisfies never;
    }
  }

  /** Goes on when files can be written again; the pause's own code tells a person meanwhile what it waits for. */
  private async waitForRoom(): Promise<void> {
    const { clock, out, diskPatienceMs, roomIn: look } = this.deps;
    const room = await waitForRoom(clock, () => look(out), diskPatienceMs, this.signal);
    await this.record(({ phase }) => {
      if (phase.at !== "paused" || phase.code !== "disk_full") return [];
      return [room ? { kind: "resumed" } : { kind: "sweep_ended", outcome: "stopped" }];
    });
  }

  /** Runs a task beside the loop, once at a time for each key. */
  private spawn(key: string, task: () => Promise<void>): void {
    if (this.inFlight.has(key)) return;
    const done = task()
      .catch((error: unknown) => {
        if (!this.signal.aborted) this.inbox.fail(error);
      })
      .finally(() => {
        this.inFlight.delete(key);
        this.inbox.put({ kind: "wake" });
      });
    this.inFlight.set(key, done);
  }

  private async pause(): Promise<void> {
    if (this.current.phase.at === "ended" || this.abandoned) return;
    const nowMs = this.deps.clock.wallMs();
    const forMs = nextWakeMs(this.current, nowMs) - nowMs;
    const woken = new AbortController();
    const sleep = (ms: number) => this.deps.clock.sleep(ms, woken.signal).catch(() => undefined);
    await this.inbox.wait(forMs === Infinity ? new Promise<void>(() => undefined) : sleep(forMs));
    await this.inbox.gather(() => sleep(gatherMs));
    woken.abort();
  }

  private async apply(messages: readonly Message[]): Promise<void> {
    let batch: wire.Event[] = [];
    for (const message of messages) {
      if (message.kind === "event") {
        if (batch.length >= batchSize) {
          await this.storeRuns(batch);
          batch = [];
        }
        batch.push(message.event);
        continue;
      }
      await this.storeRuns(batch);
      batch = [];
      if (message.kind === "decision") {
        const made = message.make(this.current, this.deps.clock.wallMs());
        await this.store(made);
        message.done(made.length > 0);
      }
    }
    await this.storeRuns(batch);
  }

  private async store(events: readonly ControlEvent[]): Promise<void> {
    if (events.length === 0) return;
    const runId = controlStream(this.sweepId);
    const first = this.current.controlSeq + 1;
    await this.append(
      events.map((event, index) => ({
        sweepId: this.sweepId,
        runId,
        seq: first + index,
        attempt: 0,
        body: { stream: "control", event },
      })),
    );
  }

  /** Events of any runs in one transaction; where the store refuses them, run by run, so that only the one at fault pays. */
  private async storeRuns(events: readonly wire.Event[]): Promise<void> {
    const runIds = new Set(events.map(({ runId }) => runId));
    try {
      return await this.appendNext(events);
    } catch (thrown) {
      if (!refusals.has(toBoraError(thrown).code)) throw thrown;
      if (runIds.size === 1) return this.refused(events[0]?.runId ?? "", toBoraError(thrown));
    }
    for (const runId of runIds) await this.storeRuns(events.filter((event) => event.runId === runId));
  }

  /** As far as they continue what is stored. */
  private async appendNext(events: readonly wire.Event[]): Promise<void> {
    const next = events.filter(({ runId, seq, attempt }) => {
      const run = this.current.runs[runId];
      return run !== undefined && seq > run.lastSeq && attempt <= run.attempt;
    });
    await this.append(
      next.map((event) => ({
        sweepId: this.sweepId,
        runId: event.runId,
        seq: event.seq,
        attempt: event.attempt,
        body: { stream: "trainer", event },
      })),
    );
  }

  /** The store's own refusal is the run's failure. */
  private async refused(runId: string, error: BoraError): Promise<void> {
    const run = this.current.runs[runId];
    if (run === undefined || error.code === "stale_attempt") return; // given up: its successor says it again
    await this.store(judge(this.current, run, asFailure(error), this.deps.clock.wallMs()));
  }

  private async append(events: readonly NewEvent[]): Promise<void> {
    if (events.length === 0) return;
    const stored = await this.appendWithPatience(events);
    this.current = evolveAll(this.current, stored);
    for (const event of stored) this.request.onProgress?.({ kind: "event", event, state: this.current });
    await this.snapshots.stored(this.current, stored.length);
  }

  /** While the store refuses to write nothing is sent to any trainer; when it never works again the loop ends. */
  private async appendWithPatience(events: readonly NewEvent[]): Promise<StoredEvent[]> {
    const { store, clock, storePatienceMs, diskPatienceMs } = this.deps;
    for (;;) {
      try {
        const stored = await store.append(events);
        this.blockedSinceMs = null;
        return stored;
      } catch (thrown) {
        const error = toBoraError(thrown);
        if (error.code !== "disk_full" && error.code !== "store_unavailable") throw thrown;
        this.blockedLastMs = clock.monotonicMs();
        if (this.blockedSinceMs === null) this.notice(error);
        this.blockedSinceMs ??= this.blockedLastMs;
        if (this.blockedMs() >= (error.code === "disk_full" ? diskPatienceMs : storePatienceMs)) throw error;
        if (this.abandoned) throw error; // a person does not want to wait
        await clock.sleep(storeRetryMs, this.signal);
      }
    }
  }

  blockedMs(): number {
    return this.blockedSinceMs === null ? 0 : Math.max(1, this.deps.clock.monotonicMs() - this.blockedSinceMs);
  }

  lastBlockedMs(): number {
    return this.blockedLastMs;
  }

  deliver(event: wire.Event): Promise<void> {
    return this.inbox.putWithRoom({ kind: "event", event });
  }

  record(make: (state: SweepState, nowMs: number) => ControlEvent[]): Promise<boolean> {
    return new Promise((done) => this.inbox.put({ kind: "decision", make, done }));
  }

  notice({ code, message, hint }: Pick<BoraError, "code" | "message" | "hint">): void {
    this.request.onProgress?.({ kind: "notice", code, message, hint });
  }

  private outcome(): SweepOutcome {
    return this.current.phase.at === "ended" ? this.current.phase.outcome : "interrupted";
  }
}
