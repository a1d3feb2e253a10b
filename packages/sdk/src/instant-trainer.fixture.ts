import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { BoraError, wire, type Inspected } from "@bora/contracts";
import type { Placer } from "@bora/placement";
import type { HeldAttempt, InspectedBase, StartAttempt, Trainer } from "@bora/trainer-client";
import { untilAborted } from "./abortable.js";

export interface TrainerScript {
  inspected: Inspected;
  /** What is found where other tasks are named, or adapter folders; `inspected` when left out. */
  inspects?: (base: InspectedBase) => Inspected;
  /** Rejects Inspect while set. */
  refuses?: BoraError;
  /** Inspect answers only when it is given up. */
  ponders?: boolean;
  /** The base runs in bfloat16, not in float32. */
  bfloat16?: boolean;
  /** Stays at a checkpoint until it is asked to drain. */
  lingers?: boolean;
  /** Trials that diverge, by tau. */
  diverges?: (tau: number) => boolean;
}

type Body = NonNullable<wire.Event["body"]>;

/** Other numbers for each tau. */
export const checkOf = (tau: number): wire.Float32Check => ({
  natsPerToken: Math.min(tau, 9) + 0.25,
  float32NatsPerToken: Math.min(tau, 9) + 0.5,
  largestRelativeDifference: 0.125,
});

/** Tasks not in the order of the data; the last is nearest to Theta. */
function distancesOf(tasks: readonly string[]): string {
  const named = tasks.toSorted();
  const left = named.map((_, index) => (named.length - index) / (2 * named.length));
  return JSON.stringify({
    ...{ tasks: named, factors: left, changes: left.map((one) => 0.4 * one), priorMean: 2 },
    gram: left.map((one, row) => left.map((other, column) => (row === column ? 0.16 : -0.04) * one * other)),
  });
}

const slugOf = (task: string): string => task.toLowerCase().replace(/[^a-z0-9]+/g, "-");

/** A trainer that has trained as soon as it starts; it counts what it was asked. */
export class InstantTrainers {
  readonly asked = { place: 0, inspect: 0, starts: [] as StartAttempt[] };
  readonly living = new Set<string>();
  private readonly files = new Map<string, Buffer>();
  private readonly runs = new Map<string, wire.Event[]>();
  private readonly held = new Map<string, () => void>();

  constructor(readonly script: TrainerScript) {}

  readonly placer: Placer = {
    place: ({ trainerId }) => {
      this.asked.place += 1;
      this.living.add(trainerId);
      const where = { instanceId: trainerId, address: trainerId, token: "t", node: "here", devices: ["cpu"] };
      return Promise.resolve({ at: "ready", trainerId, ...where });
    },
    list: () => Promise.resolve([...this.living].map((trainerId) => ({ at: "gone", trainerId, reason: "ended" }))),
    release: (trainerId) => {
      this.living.delete(trainerId);
      return Promise.resolve();
    },
  };

  connect(): Promise<Trainer> {
    return Promise.resolve({
      describe: () => Promise.resolve(wire.DescribeResponse.fromPartial({ apiVersion: "1.0", instanceId: "i" })),
      inspect: (base, signal) => this.inspect(base, signal),
      start: (start) => this.start(start),
      renew: ({ runId }) => Promise.resolve(this.renewed(runId)),
      cancel: (held) => this.cancel(held),
      events: (runId, afterSeq, signal) => this.events(runId, afterSeq, signal),
      fetch: (_runId, artifact, to) => this.fetch(artifact, to),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  }

  private inspect(base: InspectedBase, signal: AbortSignal): Promise<Inspected> {
    this.asked.inspect += 1;
    if (this.script.ponders === true) return untilAborted(new Promise(() => undefined), signal);
    const { refuses, inspects } = this.script;
    const inspected = inspects?.(base) ?? this.script.inspected;
    return refuses === undefined ? Promise.resolve(inspected) : Promise.reject(refuses);
  }

  private start(start: StartAttempt): Promise<void> {
    this.asked.starts.push(start);
    const { spec, attempt, firstSeq, resumeStep } = start;
    const events = (this.runs.get(spec.runId) ?? []).filter(({ seq }) => seq < firstSeq);
    this.runs.set(spec.runId, events);
    const emit = (body: Body, trialId = "") => {
      events.push({
        runId: spec.runId,
        seq: (events.at(-1)?.seq ?? firstSeq - 1) + 1,
        attempt,
        at: new Date(0),
        trialId,
        body,
      });
    };
    const execution = {
      dtype: this.script.bfloat16 === true ? wire.Dtype.BFLOAT16 : wire.Dtype.FLOAT32,
      dtypeReason: "a test",
      threads: 1,
      rowsPerMicroBatch: 1,
      device: "cpu",
      prefixCache: false,
      evaluationTokens: 0,
      compile: false,
      cudaGraph: false,
    };
    const size = {
      rows: spec.fits.length * 2,
      parametersPerRow: 8,
      stepsPerEpoch: 1,
      versions: { bora: "0" },
      prefixCache: "",
    };
    emit({ $case: "runStarted", runStarted: { execution, step: resumeStep, ...size } });
    const artifact = this.write(`checkpoints/${spec.runId}`, "{}");
    if (resumeStep === 0) emit({ $case: "checkpointSaved", checkpointSaved: { step: 5, artifact } });
    if (this.script.lingers === true && resumeStep === 0) this.held.set(spec.runId, () => this.drain(emit));
    else this.finish(spec, emit);
    return Promise.resolve();
  }

  private drain(emit: (body: Body) => void): void {
    const failure = { code: "drained", domain: wire.Domain.CONTROLLER, message: "stopped", hint: "" };
    emit({ $case: "runFailed", runFailed: { failure, drained: true } });
  }

  private finish(spec: wire.RunSpec, emit: (body: Body, trialId?: string) => void): void {
    const failure = { code: "diverged", domain: wire.Domain.USER, message: "nats are not finite", hint: "lower it" };
    for (const { trialId, tau } of spec.fits) {
      if (this.script.diverges?.(tau) === true) {
        emit({ $case: "trialFailed", trialFailed: { failure, step: 6 } }, trialId);
        continue;
      }
      const scored = { scored: wire.Scored.TASK, split: wire.Split.VALIDATION, seconds: 1 };
      const nats = (...each: number[]) => each.map((value, task) => ({ task, nats: value, tokens: 10n }));
      for (const [step, tasks, best] of [
        [5, nats(20, 21), true],
        [10, nats(23, 20), false],
      ] as const)
        // prettier-ignore
        emit({ $case: "evaluated", evaluated: { ...scored, complete: false, step, tasks, best } }, trialId);
      const whole = { ...scored, complete: true, step: 5, tasks: nats(20, 21), best: true };
      emit({ $case: "evaluated", evaluated: whole }, trialId);
      const manifest = this.manifest(`trials/${trialId}`, ["task", "prior-mean"], tau === 1 ? 2 : 3, spec);
      const ending = { steps: 10, bestStep: 5, ended: wire.Ended.VALIDATION, validationNatsPerToken: 2.05 };
      const float32Check = spec.float32Check && this.script.bfloat16 === true ? checkOf(tau) : undefined;
      emit({ $case: "trialDone", trialDone: { ...ending, manifest, float32Check } }, trialId);
    }
    const manifest = spec.evaluateBase ? this.manifest("base", ["base"], 5, spec) : undefined;
    emit({ $case: "runDone", runDone: { manifest, seconds: 1, peakMemoryBytes: 1n } });
  }

  private manifest(folder: string, models: readonly string[], natsPerToken: number, spec: wire.RunSpec): wire.Artifact {
    const { by } = spec.data?.tasks ?? {};
    const tasks = by?.$case === "names" ? by.names.names : this.script.inspected.tasks.map(({ name }) => name);
    const lines = models.flatMap((model) =>
      tasks.flatMap((task) =>
        ["validation", "test"].map((split) => {
          const scored = { tokens: 10, characters: 40, nats: 10 * natsPerToken };
          return JSON.stringify({ model, task, split, document: "d1", date: "", ...scored });
        }),
      ),
    );
    const entry = ({ path, size, sha256 }: wire.Artifact) => ({ path, size: Number(size), sha256 });
    const documents = entry(this.write(`${folder}/documents.jsonl`, `${lines.join("\n")}\n`));
    const distances =
      folder === "base" ? {} : { distances: entry(this.write(`${folder}/distances.json`, distancesOf(tasks))) };
    const slugs = models.includes("task") ? [...tasks.map(slugOf), "prior-mean"] : [];
    const adapters = slugs.map((slug) => {
      const file = this.write(`${folder}/adapters/${slug}/adapter_model.safetensors`, slug);
      return [slug, [entry(file)]] as const;
    });
    const listed = { documents, ...distances, adapters: Object.fromEntries(adapters) };
    return this.write(`${folder}/manifest.json`, JSON.stringify(listed));
  }

  private write(path: string, content: string): wire.Artifact {
    const bytes = Buffer.from(content);
    this.files.set(path, bytes);
    return { path, size: BigInt(bytes.length), sha256: createHash("sha256").update(bytes).digest("hex") };
  }

  private renewed(runId: string): wire.RenewLeaseResponse {
    const state = this.held.has(runId) ? wire.RunState.TRAINING : wire.RunState.ENDED;
    return { lastSeq: this.runs.get(runId)?.at(-1)?.seq ?? 0, step: 5, memoryBytes: 1n, state };
  }

  private cancel({ runId }: HeldAttempt): Promise<void> {
    this.held.get(runId)?.();
    this.held.delete(runId);
    return Promise.resolve();
  }

  private async *events(runId: string, afterSeq: number, signal: AbortSignal): AsyncIterable<wire.Event> {
    for (let seq = afterSeq; !signal.aborted;) {
      const next = this.runs.get(runId)?.find((event) => event.seq === seq + 1);
      if (next !== undefined) {
        seq += 1;
        yield next;
      } else if (this.held.has(runId)) await new Promise((resolve) => setImmediate(resolve));
      else return;
    }
  }

  private async fetch({ path }: wire.Artifact, to: string): Promise<void> {
    const bytes = this.files.get(path);
    if (bytes === undefined) throw new BoraError("artifact_corrupt", `no ${path}`, { hint: "" });
    await mkdir(dirname(to), { recursive: true });
    await writeFile(to, bytes);
  }
}
