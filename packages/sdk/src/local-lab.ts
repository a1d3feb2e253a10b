import { hostname } from "node:os";
import {
  BoraError,
  contentHash,
  parseExperiment,
  toBoraError,
  type ExperimentSpec,
  type SweepResults,
} from "@bora/contracts";
import {
  asDiskError,
  deviceMemory,
  estimate,
  findInspection,
  foldSweep,
  plan,
  roomIn,
  waitForRoom,
  type SweepEnd,
  type SweepRequest,
  type SweepState,
} from "@bora/scheduler";
import type { Store, StoreReader } from "@bora/store";
import { toJson } from "./controller-api.js";
import { EndedSweep } from "./ended-sweep.js";
import { inspectWithTrainer } from "./inspect.js";
import type { LabParts } from "./lab-parts.js";
import type { Lab, Preview, SweepCommand, SweepHandle, SweepOptions, SweepOutcome, SweepStatus } from "./lab.js";
import { readResults, sweepFolder } from "./out-folder.js";
import { RunningSweep } from "./running-sweep.js";
import { sweepStatuses } from "./status.js";

interface Current {
  experiment: string; // content hash
  since: string;
  handle: Promise<RunningSweep>;
}

const hashOf = (spec: ExperimentSpec): string => contentHash(JSON.parse(toJson(spec)));
const never = (): AbortSignal => new AbortController().signal;

const unknownSweep = (sweepId: string, dir: string): BoraError =>
  new BoraError("sweep_unknown", `${dir} holds no sweep ${sweepId}`, { hint: "bora status lists the sweeps of --out" });

/** A lab on a folder of this machine: reads its store, and becomes its controller when a sweep has work left. */
export class LocalLab implements Lab {
  private opened: Promise<StoreReader> | null = null;
  private writer: Promise<Store> | null = null;
  private current: Current | null = null;
  private currentId: string | null = null;

  constructor(private readonly parts: LabParts) {}

  /** Whether this process is the folder's controller, or is about to be. */
  get isController(): boolean {
    return this.writer !== null;
  }

  async plan(spec: ExperimentSpec, options: SweepOptions = {}): Promise<Preview> {
    return this.preview(await this.reader(), spec, options);
  }

  async sweep(spec: ExperimentSpec, options: SweepOptions = {}): Promise<SweepHandle> {
    const joined = this.join(hashOf(spec));
    if (joined !== null) return joined;
    const ended = await this.endedBefore(spec);
    if (ended !== null) return ended;
    return this.begin(hashOf(spec), (store) => this.requestFor(store, spec, options), options);
  }

  async continue(sweepId: string, command: SweepCommand, options: SweepOptions = {}): Promise<SweepHandle> {
    if (this.current !== null && this.currentId === sweepId) {
      const running = await this.current.handle;
      await running.send(command);
      return running;
    }
    const state = await foldSweep(await this.reader(), sweepId);
    if (state.plan === null) throw unknownSweep(sweepId, this.parts.dir);
    const request = continuation(sweepId, command);
    const running = await this.begin(
      hashOf(parseExperiment(state.experiment)),
      () => Promise.resolve(request),
      options,
    );
    if (command.verb === "cancel") await running.send(command);
    return running;
  }

  async follow(sweepId: string): Promise<SweepHandle> {
    if (this.current !== null && this.currentId === sweepId) return this.current.handle;
    const store = await this.reader();
    const state = await foldSweep(store, sweepId);
    if (state.plan === null) throw unknownSweep(sweepId, this.parts.dir);
    const ended = await this.ended(store, state);
    if (ended !== null) return ended;
    throw new BoraError("sweep_unknown", `nobody is at work on sweep ${sweepId}, and it has not ended`, {
      hint: "bora resume goes on with it",
    });
  }

  async status(): Promise<SweepStatus[]> {
    return sweepStatuses(await this.reader(), this.currentId);
  }

  async results(sweepId: string): Promise<SweepResults> {
    const results = await readResults(sweepFolder(this.parts.dir, sweepId));
    if (results !== null) return results;
    throw new BoraError("sweep_unknown", `there are no results of sweep ${sweepId} in ${this.parts.dir}`, {
      hint: "they are written when a sweep ends; bora status lists sweeps and their states",
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.writer?.catch(() => null))?.[Symbol.asyncDispose]();
    await (await this.opened?.catch(() => null))?.[Symbol.asyncDispose]();
    this.opened = null;
    this.writer = null;
  }

  private reader(): Promise<StoreReader> {
    return this.writer ?? (this.opened ??= this.parts.openReader());
  }

  /** The sweep in hand when it is of this experiment; throws store_busy when it is of another. */
  private join(experiment: string): Promise<SweepHandle> | null {
    if (this.current === null) return null;
    if (this.current.experiment === experiment) return this.current.handle;
    const holder = `pid ${process.pid} on ${hostname()} since ${this.current.since}`;
    const doing = this.currentId === null ? "plans another experiment" : `runs another experiment (${this.currentId})`;
    throw new BoraError("store_busy", `${this.parts.dir}: ${holder} ${doing}`, {
      hint: "wait for it, stop it with bora drain, or name another folder with --out",
    });
  }

  private begin(
    experiment: string,
    request: (store: Store) => Promise<SweepRequest>,
    options: SweepOptions,
  ): Promise<RunningSweep> {
    this.join(""); // one sweep at a time
    const handle = this.launch(request, options);
    const current = { experiment, handle, since: new Date(this.parts.clock.wallMs()).toISOString() };
    this.current = current;
    const leave = () => {
      if (this.current === current) [this.current, this.currentId] = [null, null];
    };
    handle.then((running) => running.outcome().finally(leave)).catch(leave);
    return handle;
  }

  private async launch(request: (store: Store) => Promise<SweepRequest>, options: SweepOptions): Promise<RunningSweep> {
    const { parts } = this;
    const writer = (this.writer ??= parts.openWriter());
    const store = await writer.catch((error: unknown) => {
      this.writer = null;
      throw error;
    });
    await options.onController?.();
    const asked = await request(store);
    const { dir: out, clock, connectTrainer, leaseMs, newId: newRunId } = parts;
    const deps = { store, placer: await parts.placer(), connectTrainer, clock, out, leaseMs, newRunId };
    const running = new RunningSweep(deps, asked, (end) => this.finish(end, options), options);
    this.currentId = running.sweepId;
    return running;
  }

  private async preview(store: StoreReader, spec: ExperimentSpec, options: SweepOptions): Promise<Preview> {
    const { signal = never(), onStage = () => undefined } = options;
    const found = await findInspection(store, spec);
    const inspected = found ?? (await inspectWithTrainer(this.parts, spec, signal, onStage));
    const memory = deviceMemory(inspected, this.parts.freeMemoryBytes());
    const limits = { memoryBytes: memory.freeBytes };
    const finished: string[] = [];
    for (const { id } of plan(spec, inspected, { memoryBytes: Infinity }).trials)
      if ((await store.finishedTrial(id)) !== null) finished.push(id);
    const planned = plan(spec, inspected, limits, new Set(finished));
    return { plan: planned, inspected, estimate: estimate(spec, inspected, planned), memory, finished };
  }

  /** A sweep of this plan that the store holds goes on as it was planned. */
  private async requestFor(store: Store, spec: ExperimentSpec, options: SweepOptions): Promise<SweepRequest> {
    const preview = await this.preview(store, spec, options);
    const { sweepId } = preview.plan;
    const known = await foldSweep(store, sweepId);
    if (known.plan !== null) return { sweepId, requeue: { by: "resume" } };
    return { plan: preview.plan, experiment: spec, inspected: preview.inspected };
  }

  /** Looks with the store alone: no trainer, no writer. */
  private async endedBefore(spec: ExperimentSpec): Promise<SweepHandle | null> {
    const store = await this.reader();
    const inspected = await findInspection(store, spec);
    if (inspected === null) return null;
    const { sweepId } = plan(spec, inspected, { memoryBytes: Infinity });
    const ended = await this.ended(store, await foldSweep(store, sweepId));
    const outcome = await ended?.outcome();
    return outcome?.results != null && ["done", "failed"].includes(outcome.outcome) ? ended : null;
  }

  private async ended(store: StoreReader, state: SweepState): Promise<EndedSweep | null> {
    const { sweepId, phase } = state;
    if (state.plan === null || phase.at !== "ended") return null;
    const { outcome } = phase;
    const folder = sweepFolder(this.parts.dir, sweepId);
    const results = await readResults(folder);
    const reason = reasonOf({ outcome, state });
    return new EndedSweep(store, { sweepId, outcome, alreadyDone: true, reason, folder, results });
  }

  /** On a full disk says so and waits: everything is trained, and the same call later would only write this. */
  private async writeWithPatience(state: SweepState, folder: string, options: SweepOptions): Promise<SweepResults> {
    for (;;) {
      try {
        return await this.parts.writeResults(state, folder);
      } catch (thrown) {
        const error = toBoraError(asDiskError(thrown));
        if (error.code !== "disk_full") throw error;
        options.onNotice?.(error);
        const { clock, dir } = this.parts;
        const signal = options.signal ?? never();
        if (!(await waitForRoom(clock, () => roomIn(dir), diskPatienceMs, signal))) throw error;
      }
    }
  }

  private async finish(end: SweepEnd, options: SweepOptions): Promise<SweepOutcome> {
    const { sweepId } = end.state;
    const folder = sweepFolder(this.parts.dir, sweepId);
    const results = end.outcome === "interrupted" ? null : await this.writeWithPatience(end.state, folder, options);
    return { sweepId, outcome: end.outcome, alreadyDone: false, reason: reasonOf(end), folder, results };
  }
}

/** As long as the loop itself waits for a disk. */
const diskPatienceMs = 12 * 3_600_000;

function continuation(sweepId: string, command: SweepCommand): SweepRequest {
  switch (command.verb) {
    case "resume":
      return { sweepId, requeue: { by: "resume" } };
    case "retry":
      return { sweepId, requeue: command.selection };
    case "cancel":
      return { sweepId };
    case "pause":
    case "drain":
      throw new BoraError(
        "sweep_unknown",
        `nobody is at work on sweep ${sweepId}: there is nothing to ${command.verb}`,
        {
          hint: "bora status lists sweeps and their states",
        },
      );
    default:
      return command satisfies never;
  }
}

function reasonOf({ outcome, state }: SweepEnd): SweepOutcome["reason"] {
  if (outcome === "stopped" && state.pausedBy !== null)
    return {
      code: state.pausedBy.code,
      message: state.pausedBy.reason,
      hint: "mend the cause, then run the same command again",
    };
  const failed = Object.values(state.trials).find(({ failure }) => failure !== null);
  return outcome === "failed" ? (failed?.failure ?? null) : null;
}
