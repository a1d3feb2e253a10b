import { createHash } from "node:crypto";
import { wire } from "@bora/contracts";

/** Of the experiment that fake trainers pretend to read. */
export const tasks = ["Hamlet", "Macbeth", "Othello", "Lear"];

export const slugOf = (task: string): string => task.toLowerCase();

/** What a fake run says, and how large a file its first trial leaves behind. */
export interface RunScript {
  /** Events while it trains, beside the first one and those that end it. */
  events: number;
  /** Bytes of an adapter file of its first trial; 0: none. */
  artifactBytes: number;
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const chunkBytes = 2 ** 20; // the protocol's largest
const filler = Buffer.alloc(chunkBytes, "the same mebibyte again ");

/** A file of any size that takes no memory: one chunk, again and again. */
export class Filler {
  readonly artifact: wire.Artifact;

  constructor(path: string, size: number) {
    const hash = createHash("sha256");
    for (const chunk of chunksOf(size)) hash.update(chunk);
    this.artifact = { path, size: BigInt(size), sha256: hash.digest("hex") };
  }

  chunks(offset: number): Generator<Buffer> {
    return chunksOf(Number(this.artifact.size), offset);
  }
}

function* chunksOf(size: number, offset = 0): Generator<Buffer> {
  for (let at = offset; at < size;) {
    const begin = at % chunkBytes;
    const chunk = filler.subarray(begin, Math.min(chunkBytes, begin + size - at));
    yield chunk;
    at += chunk.length;
  }
}

type Body = NonNullable<wire.Event["body"]>;
type Entry = { path: string; size: number; sha256: string };

/**
 * A run as a trainer tells it: a window of steps, then an evaluation of every trial, again and again; at the end the
 * trials' results. Everything is encoded before the run begins, so that sending costs next to nothing.
 */
export class FakeRun {
  readonly events: Buffer[] = [];
  readonly files = new Map<string, Buffer>();
  filler: Filler | null = null;
  private readonly at = new Date();

  constructor(
    readonly spec: wire.RunSpec,
    readonly attempt: number,
    private readonly firstSeq: number,
    script: RunScript,
  ) {
    this.begin();
    const trained = this.train(script.events);
    if (script.artifactBytes > 0) this.filler = new Filler("adapter_model.safetensors", script.artifactBytes);
    this.end(trained);
  }

  /** Of all its events, as they are on the wire. */
  get sha256(): string {
    return sha256(Buffer.concat(this.events));
  }

  private tell(body: Body, trialId = ""): void {
    const { runId } = this.spec;
    const seq = this.firstSeq + this.events.length;
    const event: wire.Event = { runId, seq, attempt: this.attempt, at: this.at, trialId, body };
    this.events.push(Buffer.from(wire.Event.encode(event).finish()));
  }

  private begin(): void {
    const execution = wire.Execution.fromPartial({ dtype: wire.Dtype.FLOAT32, dtypeReason: "a fake", device: "cpu" });
    const rows = this.spec.fits.length * tasks.length;
    this.tell({ $case: "runStarted", runStarted: wire.RunStarted.fromPartial({ execution, rows }) });
  }

  /** The last step. */
  private train(events: number): number {
    const { fits } = this.spec;
    for (let told = 0, step = 1; ; step += 1) {
      const progress = fits.map(({ trialId }, place) => ({ trialId, natsPerToken: natsAt(place, step) }));
      if (told >= events) return step;
      const window = { step, steps: 1, tokens: 4_096n, seconds: 0.1, fits: progress, real: 4_200n, padded: 60n };
      this.tell({ $case: "stepsDone", stepsDone: window });
      told += 1;
      for (const [place, { trialId }] of fits.entries()) {
        if (told >= events) return step;
        this.evaluate(trialId, place, step);
        told += 1;
      }
    }
  }

  private evaluate(trialId: string, place: number, step: number): void {
    const scored = tasks.map((_, task) => ({ task, nats: 500 * natsAt(place + task, step), tokens: 500n }));
    const about = { scored: wire.Scored.TASK, split: wire.Split.VALIDATION, best: true, complete: false };
    this.tell({ $case: "evaluated", evaluated: { ...about, step, tasks: scored, seconds: 0.01 } }, trialId);
  }

  private end(step: number): void {
    for (const [place, { trialId }] of this.spec.fits.entries()) {
      const manifest = this.results(`trials/${trialId}`, ["task", "prior-mean"], place === 0 ? this.filler : null);
      const ended = { steps: step, bestStep: step, ended: wire.Ended.LIMIT };
      const validationNatsPerToken = natsAt(place, step);
      this.tell(
        { $case: "trialDone", trialDone: { ...ended, validationNatsPerToken, manifest, float32Check: undefined } },
        trialId,
      );
    }
    const manifest = this.spec.evaluateBase ? this.results("base", ["base"], null) : undefined;
    this.tell({ $case: "runDone", runDone: { manifest, seconds: 60, peakMemoryBytes: 1n } });
  }

  /** Writes documents and their manifest, and returns the manifest's entry. */
  private results(folder: string, models: readonly string[], adapter: Filler | null): wire.Artifact {
    const rows = models.flatMap((model) =>
      tasks.flatMap((task, place) =>
        ["validation", "test"].map((split) => ({
          ...{ model, task, split, document: `${task} 1`, date: "", tokens: 100, characters: 400, nats: 300 + place },
        })),
      ),
    );
    const documents = this.write(`${folder}/documents.jsonl`, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const adapters = adapter === null ? {} : { [slugOf(tasks[0] ?? "")]: [entryOf(adapter.artifact)] };
    return this.write(`${folder}/manifest.json`, JSON.stringify({ documents: entryOf(documents), adapters }));
  }

  private write(path: string, text: string): wire.Artifact {
    const bytes = Buffer.from(text);
    this.files.set(path, bytes);
    return { path, size: BigInt(bytes.length), sha256: sha256(bytes) };
  }
}

const entryOf = ({ path, size, sha256: hash }: wire.Artifact): Entry => ({ path, size: Number(size), sha256: hash });

/** A curve that falls and scatters, the same for the same place and step. */
export const natsAt = (place: number, step: number): number =>
  3 + 20 / Math.sqrt(step + 10) + 0.1 * Math.sin(place * 7.3 + step);
