import { BoraError, wire, type ErrorCode } from "@bora/contracts";
import type { HeldAttempt, StartAttempt, Trainer } from "@bora/trainer-client";
import { writeFileSync } from "node:fs";
import type { FakeClock } from "./fake-clock.fixture.js";
import {
  artifactJson,
  evaluateEvery,
  failure,
  finishTrial,
  validate,
  type Emit,
  type RunFolder,
  type SimulationScript,
} from "./simulated-run.fixture.js";

export const stepMs = 1_000;

interface Held {
  folder: RunFolder;
  spec: wire.RunSpec;
  attempt: number;
  leaseUntilMs: number;
  state: wire.RunState;
  step: number;
  stop: "drain" | "kill" | null;
}

/** A trainer's process: it trains by the clock, keeps its lease, and its folder outlives it. */
export class SimulatedProcess {
  alive = true;
  /** Calls fail while set; the process goes on. */
  unreachable = false;
  /** It neither answers nor trains nor minds its lease, and yet is there. */
  frozen = false;
  held: Held | null = null;
  private changed: (() => void)[] = [];
  private contactUntilMs: number;

  constructor(
    readonly trainerId: string,
    readonly instanceId: string,
    readonly clock: FakeClock,
    readonly script: SimulationScript,
    readonly folder: (runId: string) => RunFolder,
    leaseMs: number,
  ) {
    this.contactUntilMs = clock.monotonicMs() + leaseMs;
    void this.watchLeases();
  }

  /** kill -9 of the whole group. */
  die(): void {
    this.alive = false;
    this.notify();
  }

  /** SIGTERM: a checkpoint, the last event, the end. */
  terminate(): void {
    if (this.alive && !this.frozen && this.held !== null && this.active) this.drained(this.held);
    this.die();
  }

  get active(): boolean {
    return this.held !== null && this.held.state !== wire.RunState.ENDED;
  }

  begin({ spec, attempt, firstSeq, leaseMs, resumeStep }: StartAttempt): void {
    const folder = this.folder(spec.runId);
    this.contactUntilMs = this.clock.monotonicMs() + leaseMs;
    if (this.held?.folder.runId === spec.runId && this.held.attempt >= attempt) return;
    if (this.active && this.held?.folder !== folder) throw refuse("busy");
    if (attempt <= folder.attempt) throw refuse("stale_attempt");
    if (resumeStep > 0 && !folder.checkpoints.has(resumeStep)) throw refuse("checkpoint_missing");
    if (this.held?.folder === folder) this.held.state = wire.RunState.ENDED; // an earlier attempt gives way
    folder.begin(attempt, firstSeq, resumeStep);
    folder.starts.push({ attempt, firstSeq, resumeStep, spec });
    const leaseUntilMs = this.clock.monotonicMs() + leaseMs;
    this.held = { folder, spec, attempt, leaseUntilMs, state: wire.RunState.TRAINING, step: resumeStep, stop: null };
    void this.train(this.held, resumeStep);
  }

  renew(held: Held, leaseMs: number): void {
    held.leaseUntilMs = this.contactUntilMs = this.clock.monotonicMs() + leaseMs;
  }

  untilChanged(): Promise<void> {
    return new Promise((resolve) => this.changed.push(resolve));
  }

  notify(): void {
    for (const wake of this.changed.splice(0)) wake();
  }

  private emitter(held: Held): Emit {
    return (trialId, body) => {
      held.folder.append(trialId, body, new Date(this.clock.wallMs()));
      this.notify();
    };
  }

  private end(held: Held, body: NonNullable<wire.Event["body"]>): void {
    held.state = wire.RunState.ENDED;
    this.emitter(held)("", body);
  }

  private fail(held: Held, cause: wire.Failure, drained = false): void {
    this.end(held, { $case: "runFailed", runFailed: { failure: cause, drained } });
  }

  private saveCheckpoint(held: Held): void {
    const artifact = held.folder.write(`checkpoints/step-${held.step}`, `step ${held.step}`);
    held.folder.checkpoints.add(held.step);
    this.emitter(held)("", { $case: "checkpointSaved", checkpointSaved: { step: held.step, artifact } });
  }

  private drained(held: Held): void {
    if (!held.folder.checkpoints.has(held.step) && held.step > 0) this.saveCheckpoint(held);
    this.fail(held, failure("drained", wire.Domain.CONTROLLER), true);
  }

  private async train(held: Held, from: number): Promise<void> {
    const emit = this.emitter(held);
    const { fits, evaluateBase, execution } = held.spec;
    const cause = this.script.failure?.(held.folder.runId, held.attempt);
    if (cause) return this.fail(held, cause);
    if (fits.length > (this.script.mostTrials ?? Infinity))
      return this.fail(held, failure("out_of_memory", wire.Domain.OOM));
    const chosen = execution ?? {
      dtype: wire.Dtype.FLOAT32,
      dtypeReason: "simulated",
      threads: 2,
      rowsPerMicroBatch: 4,
      device: "cpu",
      prefixCache: false,
      evaluationTokens: 0,
      compile: false,
      cudaGraph: false,
    };
    const rows = fits.length * 2;
    emit("", {
      $case: "runStarted",
      runStarted: {
        execution: chosen,
        step: from,
        rows,
        parametersPerRow: 8,
        stepsPerEpoch: 4,
        versions: { bora: "0" },
        prefixCache: "",
      },
    });
    const ends = (id: string) => Math.min(this.script.trials(id).doneAt, this.script.trials(id).divergesAt ?? Infinity);
    let fitting = fits.map(({ trialId }) => trialId).filter((id) => ends(id) > from);
    while (fitting.length > 0) {
      await this.clock.sleep(stepMs);
      if (this.frozen) continue;
      if (!this.alive || this.held !== held || held.state === wire.RunState.ENDED) return;
      if (held.stop === "drain") return this.drained(held);
      fitting = this.step(held, fitting, emit);
    }
    const manifest = evaluateBase ? this.baseFiles(held) : undefined;
    this.end(held, { $case: "runDone", runDone: { manifest, seconds: 1, peakMemoryBytes: 1n } });
  }

  private step(held: Held, fitting: string[], emit: Emit): string[] {
    held.step += 1;
    const { step } = held;
    emit("", {
      $case: "stepsDone",
      stepsDone: {
        step,
        steps: 1,
        tokens: 64n,
        seconds: 1,
        real: 66n,
        padded: 2n,
        fits: fitting.map((trialId) => ({ trialId, natsPerToken: 3 })),
      },
    });
    const left = fitting.filter((trialId) => {
      const { doneAt, divergesAt, mute = false } = this.script.trials(trialId);
      if (step === divergesAt) {
        const diverged = failure("diverged", wire.Domain.USER);
        emit(trialId, { $case: "trialFailed", trialFailed: { failure: diverged, step } });
        return false;
      }
      if (step % evaluateEvery === 0) emit(trialId, validate(trialId, step));
      if (step === doneAt && !mute) finishTrial(held.folder, trialId, step, emit);
      return step < doneAt;
    });
    if (step % (this.script.checkpointEvery ?? evaluateEvery) === 0 && left.length > 0) this.saveCheckpoint(held);
    return left;
  }

  private baseFiles({ folder }: Held): wire.Artifact {
    const documents = folder.write("base/documents.jsonl", `{"model":"base"}\n`);
    return folder.write("base/manifest.json", JSON.stringify({ documents: artifactJson(documents) }));
  }

  kill(held: Held): void {
    held.stop = "kill";
    if (held.state !== wire.RunState.ENDED) this.fail(held, failure("cancelled", wire.Domain.CONTROLLER));
  }

  private async watchLeases(): Promise<void> {
    for (; this.alive; await this.clock.sleep(stepMs)) {
      if (this.frozen) continue;
      const nowMs = this.clock.monotonicMs();
      if (this.held !== null && this.active && this.held.leaseUntilMs <= nowMs) this.drained(this.held);
      if (!this.active && this.contactUntilMs <= nowMs) this.die(); // an orphan leaves
    }
  }
}

export const refuse = (code: ErrorCode): BoraError => new BoraError(code, `simulated ${code}`, { hint: "" });

/** The port, as a client of a simulated process sees it. */
export class SimulatedTrainer implements Trainer {
  constructor(
    private readonly process: SimulatedProcess,
    private readonly reach: () => Promise<void>, // never resolves for a controller that is gone
  ) {}

  async describe(): Promise<wire.DescribeResponse> {
    await this.check();
    const { held, instanceId } = this.process;
    return {
      apiVersion: "1.0",
      instanceId,
      devices: [],
      held: held
        ? {
            runId: held.folder.runId,
            attempt: held.attempt,
            lastSeq: held.folder.events.at(-1)?.seq ?? 0,
            state: held.state,
          }
        : undefined,
      eventsEndpoint: "",
      eventsPublicKey: "",
      versions: {},
      freeMemoryBytes: 0n,
    };
  }

  async inspect(): Promise<never> {
    throw refuse("internal"); // a sweep never inspects
  }

  async start(start: StartAttempt): Promise<void> {
    await this.check();
    this.process.begin(start);
  }

  async renew(of: HeldAttempt, leaseMs: number): Promise<wire.RenewLeaseResponse> {
    const held = await this.heldAs(of);
    this.process.renew(held, leaseMs);
    const lastSeq = held.folder.events.at(-1)?.seq ?? 0;
    return { lastSeq, step: held.step, memoryBytes: 0n, state: held.state };
  }

  async cancel(of: HeldAttempt, mode: "drain" | "kill"): Promise<void> {
    const held = await this.heldAs(of);
    if (mode === "kill") this.process.kill(held);
    else held.stop ??= "drain";
  }

  async *events(runId: string, afterSeq: number, signal: AbortSignal): AsyncGenerator<wire.Event> {
    await this.check();
    const folder = this.process.folder(runId);
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    for (let seq = afterSeq; ;) {
      await this.check();
      if (signal.aborted) return;
      const next = folder.events.find((event) => event.seq === seq + 1);
      if (next !== undefined) {
        seq = next.seq;
        yield next;
        continue;
      }
      if (this.process.held?.folder !== folder || !this.process.active) return;
      await Promise.race([this.process.untilChanged(), aborted]);
    }
  }

  async fetch(runId: string, artifact: wire.Artifact, to: string): Promise<void> {
    await this.check();
    const bytes = this.process.folder(runId).files.get(artifact.path);
    if (bytes === undefined) throw refuse("artifact_corrupt");
    writeFileSync(to, bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  private async check(): Promise<void> {
    await this.reach();
    if (!this.process.alive || this.process.unreachable || this.process.frozen) throw refuse("trainer_lost");
  }

  private async heldAs({ runId, attempt }: HeldAttempt) {
    await this.check();
    const { held } = this.process;
    if (held?.folder.runId !== runId || attempt > held.attempt) throw refuse("run_unknown");
    if (attempt < held.attempt) throw refuse("stale_attempt");
    return held;
  }
}
