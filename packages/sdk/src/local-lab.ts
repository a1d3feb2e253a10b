import { hostname } from "node:os";
import {
  BoraError,
  contentHash,
  parseExperiment,
  toBoraError,
  type DocumentRow,
  type ExperimentInput,
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
import { eitherSignal, labClosed, untilAborted, type CallOptions } from "./abortable.js";
import { toJson } from "./controller-api.js";
import { readDocuments } from "./documents.js";
import { EndedSweep } from "./ended-sweep.js";
import { exportAdapters } from "./export/export-adapters.js";
import type { Exported, ExportRequest } from "./export/export-request.js";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "./generate-request.js";
import { inspectWithTrainer } from "./inspect.js";
import type { LabParts } from "./lab-parts.js";
import { labWork, type LabWork } from "./lab-work.js";
import type { Lab, SweepCommand, SweepHandle, SweepOptions, SweepOutcome, SweepStatus } from "./lab.js";
import { readResults, sweepFolder, usableResults } from "./out-folder.js";
import type { Preview } from "./preview.js";
import { RunningSweep } from "./running-sweep.js";
import { StatusBook } from "./status.js";
import { TextLab } from "./text-lab.js";

interface Current {
  experiment: string; // content hash
  since: string;
  handle: Promise<RunningSweep>;
}

const hashOf = (spec: ExperimentSpec): string => contentHash(JSON.parse(toJson(spec)));
const anchored = (spec: ExperimentInput): ExperimentSpec => parseExperiment(spec, process.cwd());

const unknownSweep = (sweepId: string, dir: string): BoraError =>
  new BoraError("sweep_unknown", `${dir} holds no sweep ${sweepId}`, { hint: "bora status lists the sweeps of --out" });

/** A lab on a folder of this machine: reads its store, and becomes its controller when a sweep has work left. */
export class LocalLab implements Lab {
  private opened: Promise<StoreReader> | null = null;
  private writer: Promise<Store> | null = null;
  private current: Current | null = null;
  private running: RunningSweep | null = null;
  private readonly statuses = new StatusBook();
  private readonly closed = new AbortController();
  private readonly inHand = new Set<Promise<unknown>>(); // planning and inspecting, which hold trainers

  private readonly texts: TextLab;

  constructor(private readonly parts: LabParts) {
    this.texts = new TextLab(parts, () => this.reader());
  }

  /** Whether this process is the folder's controller, or is about to be. */
  get isController(): boolean {
    return this.writer !== null;
  }

  async plan(spec: ExperimentInput, options: SweepOptions = {}): Promise<Preview> {
    this.closed.signal.throwIfAborted();
    const store = await this.reader();
    return this.hold(this.preview(store, anchored(spec), this.endedWith(options)));
  }

  async sweep(input: ExperimentInput, options: SweepOptions = {}): Promise<SweepHandle> {
    eitherSignal(this.closed.signal, options.signal).throwIfAborted();
    const spec = anchored(input);
    const joined = this.join(hashOf(spec));
    if (joined !== null) return untilAborted(joined, options.signal);
    const ended = await this.endedBefore(spec);
    if (ended !== null) return ended;
    const request = (store: Store) => this.requestFor(store, spec, this.endedWith(options));
    return this.begin(hashOf(spec), request, options);
  }

  async continue(sweepId: string, command: SweepCommand, options: SweepOptions = {}): Promise<SweepHandle> {
    eitherSignal(this.closed.signal, options.signal).throwIfAborted();
    if (this.current !== null && this.running?.sweepId === sweepId) {
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
    if (this.current !== null && this.running?.sweepId === sweepId) return this.current.handle;
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
    const store = await this.reader();
    const elsewhere = this.writer === null ? ((await store.writer())?.sweepId ?? null) : null;
    return this.statuses.statuses(store, this.running, elsewhere);
  }

  async results(sweepId: string): Promise<SweepResults> {
    return (await readResults(sweepFolder(this.parts.dir, sweepId))) ?? this.noneYet(sweepId);
  }

  async documents(sweepId: string): Promise<DocumentRow[]> {
    return (await readDocuments(sweepFolder(this.parts.dir, sweepId))) ?? this.noneYet(sweepId);
  }

  async *generate(request: GenerateRequest, options: GenerateOptions = {}): AsyncGenerator<GeneratedPiece> {
    if (this.current !== null)
      throw new BoraError(
        "busy",
        `${this.running?.sweepId ?? "a sweep"} trains here: a second model would not fit beside it`,
        {
          hint: "wait for its end, or stop it at a checkpoint with bora drain",
        },
      );
    yield* this.texts.generate(request, this.endedWith(options));
  }

  async export(request: ExportRequest, options: GenerateOptions = {}): Promise<Exported> {
    const { signal, onStage = () => undefined } = this.endedWith(options);
    signal.throwIfAborted();
    const results = await this.resultsSoFar(request.sweepId);
    return this.hold(exportAdapters(request, results, this.texts, { signal, onStage }));
  }

  readonly adapt: LabWork["adapt"] = (...asked) => this.work.adapt(...asked);
  readonly fewShotCurves: LabWork["fewShotCurves"] = (...asked) => this.work.fewShotCurves(...asked);
  readonly evaluate: LabWork["evaluate"] = (...asked) => this.work.evaluate(...asked);

  private get work(): LabWork {
    const { dir } = this.parts;
    return labWork({ dir, sweep: (spec, options) => this.sweep(spec, options), status: () => this.status() });
  }

  /** The sweep that runs here is drained, so that the same call goes on with it; trainers of other questions end too. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.closed.abort(labClosed());
    const running = await this.current?.handle.catch(() => null);
    await running?.send({ verb: "drain" }).catch(() => undefined); // it has ended meanwhile
    await running?.outcome().catch(() => undefined); // whoever waits for it is told
    await Promise.allSettled(this.inHand);
    await this.texts[Symbol.asyncDispose]();
    const opened = [this.writer, this.opened];
    this.opened = null;
    this.writer = null;
    for (const store of opened) await (await store?.catch(() => null))?.[Symbol.asyncDispose]();
  }

  /** Throws sweep_unknown, or results_missing with how far the sweep is. */
  private async noneYet(sweepId: string): Promise<never> {
    const { plan: planned, trials } = await foldSweep(await this.reader(), sweepId);
    if (planned === null) throw unknownSweep(sweepId, this.parts.dir);
    const all = Object.values(trials);
    const done = all.filter(({ state }) => state.at === "done").length;
    throw new BoraError(
      "results_missing",
      `there are no results of sweep ${sweepId} in ${this.parts.dir} yet: ${done} of ${all.length} trials are done`,
      { hint: "they are written when a sweep ends; bora status lists sweeps and their states" },
    );
  }

  /** The same options, with a signal that disposing the lab aborts too. */
  private endedWith<Options extends CallOptions>(options: Options): Options & { signal: AbortSignal } {
    return { ...options, signal: eitherSignal(this.closed.signal, options.signal) };
  }

  private hold<T>(work: Promise<T>): Promise<T> {
    this.inHand.add(work);
    const leave = () => this.inHand.delete(work);
    work.then(leave, leave);
    return work;
  }

  /** results.json, or what it would say now of a sweep that has not ended. */
  private async resultsSoFar(sweepId: string): Promise<SweepResults> {
    const folder = sweepFolder(this.parts.dir, sweepId);
    const written = await usableResults(folder);
    if (written !== null) return written;
    const state = await foldSweep(await this.reader(), sweepId);
    if (state.plan === null) throw unknownSweep(sweepId, this.parts.dir);
    return (await (await import("./write-results.js")).resultsOf(state, folder)).results;
  }

  /** A store that was not there reads as empty for good, so it is opened again: somebody may have made it since. */
  private async reader(): Promise<StoreReader> {
    if (this.closed.signal.aborted) throw labClosed();
    if (this.writer !== null) return this.writer;
    const before = this.opened;
    const store = await (this.opened ??= this.parts.openReader());
    if (before === null || this.opened !== before || (await store.sweeps()).length > 0) return store;
    this.opened = this.parts.openReader();
    await store[Symbol.asyncDispose]();
    return this.opened;
  }

  /** The sweep in hand when it is of this experiment; throws store_busy when it is of another. */
  private join(experiment: string): Promise<SweepHandle> | null {
    if (this.current === null) return null;
    if (this.current.experiment === experiment) return this.current.handle;
    const holder = `pid ${process.pid} on ${hostname()} since ${this.current.since}`;
    const doing =
      this.running === null ? "plans another experiment" : `runs another experiment (${this.running.sweepId})`;
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
      if (this.current === current) [this.current, this.running] = [null, null];
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
    this.endedWith(options).signal.throwIfAborted(); // nothing was trained yet
    const { dir: out, clock, connectTrainer, leaseMs, newId: newRunId } = parts;
    const [placer, maxTrainers] = await Promise.all([parts.placer(), parts.maxTrainers()]);
    const deps = { store, placer, maxTrainers, connectTrainer, clock, out, leaseMs, newRunId };
    const running = new RunningSweep(deps, asked, (end) => this.finish(end, options), options);
    this.running = running;
    return running;
  }

  private async preview(
    store: StoreReader,
    spec: ExperimentSpec,
    { signal, onStage = () => undefined }: SweepOptions & { signal: AbortSignal },
  ): Promise<Preview> {
    signal.throwIfAborted();
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
  private async requestFor(
    store: Store,
    spec: ExperimentSpec,
    options: SweepOptions & { signal: AbortSignal },
  ): Promise<SweepRequest> {
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
    const results = await usableResults(folder);
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
        const { signal } = this.endedWith(options);
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
