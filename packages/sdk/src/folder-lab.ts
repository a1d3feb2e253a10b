import { setTimeout as delay } from "node:timers/promises";
import { BoraError, type DocumentRow, type ExperimentInput, type SweepResults } from "@bora/contracts";
import { eitherSignal, labClosed, untilAborted, type CallOptions } from "./abortable.js";
import { readControllerFile } from "./controller-file.js";
import type { Exported, ExportRequest } from "./export/export-request.js";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "./generate-request.js";
import { labWork, type LabWork } from "./lab-work.js";
import type { Lab, SweepCommand, SweepHandle, SweepOptions, SweepStatus } from "./lab.js";
import type { LocalLab } from "./local-lab.js";
import type { Preview } from "./preview.js";
import { RemoteLab } from "./remote-lab.js";

const answerWithinMs = 2_000;
const findControllerTries = 25; // a controller that has just taken the lock listens within seconds

/** One writer: while a controller lives, everything goes through it; otherwise this process reads, or becomes it. */
export class FolderLab implements Lab {
  private readonly closed = new AbortController();
  private controller: RemoteLab | null = null; // of another process, the last that answered

  constructor(
    private readonly dir: string,
    private readonly local: LocalLab,
  ) {}

  /** Planning needs no writer, so it is done here whoever trains. */
  plan(spec: ExperimentInput, options?: SweepOptions): Promise<Preview> {
    return this.local.plan(spec, options);
  }

  sweep(spec: ExperimentInput, options?: SweepOptions): Promise<SweepHandle> {
    return this.throughController((lab) => lab.sweep(spec, options), options);
  }

  continue(sweepId: string, command: SweepCommand, options?: SweepOptions): Promise<SweepHandle> {
    return this.throughController((lab) => lab.continue(sweepId, command, options), options);
  }

  async follow(sweepId: string, options?: CallOptions): Promise<SweepHandle> {
    return (await this.remote(options)).follow(sweepId, options);
  }

  async status(options?: CallOptions): Promise<SweepStatus[]> {
    return (await this.remote(options)).status(options);
  }

  results(sweepId: string, { signal }: CallOptions = {}): Promise<SweepResults> {
    return untilAborted(this.local.results(sweepId), signal);
  }

  documents(sweepId: string, { signal }: CallOptions = {}): Promise<DocumentRow[]> {
    return untilAborted(this.local.documents(sweepId), signal);
  }

  async *generate(request: GenerateRequest, options?: GenerateOptions): AsyncGenerator<GeneratedPiece> {
    yield* (await this.remote()).generate(request, options);
  }

  /** Reads files that are whole, so no controller is needed. */
  export(request: ExportRequest, options?: GenerateOptions): Promise<Exported> {
    return this.local.export(request, options);
  }

  readonly adapt: LabWork["adapt"] = (...asked) => this.work.adapt(...asked);
  readonly fewShotCurves: LabWork["fewShotCurves"] = (...asked) => this.work.fewShotCurves(...asked);
  readonly evaluate: LabWork["evaluate"] = (...asked) => this.work.evaluate(...asked);

  private get work(): LabWork {
    const { dir } = this;
    return labWork({ dir, sweep: (spec, options) => this.sweep(spec, options), status: () => this.status() });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed.abort(labClosed());
    await this.controller?.[Symbol.asyncDispose]();
    await this.local[Symbol.asyncDispose]();
  }

  private async remote({ signal }: CallOptions = {}): Promise<Lab> {
    eitherSignal(this.closed.signal, signal).throwIfAborted();
    if (this.local.isController) return this.local;
    return (await this.liveController(signal)) ?? this.local;
  }

  /** The controller that answers for the folder, or null. */
  private async liveController(signal: AbortSignal | undefined): Promise<RemoteLab | null> {
    const file = await readControllerFile(this.dir);
    if (file === null) return null;
    if (this.controller?.address.token !== file.token) this.controller = new RemoteLab(file);
    const { controller } = this;
    return controller.state(eitherSignal(AbortSignal.timeout(answerWithinMs), signal)).then(
      () => controller,
      () => {
        signal?.throwIfAborted();
        return null;
      },
    );
  }

  /** Between a controller's lock and its controller.json, and between its end and its lock's, nobody answers: ask again. */
  private async throughController<T>(action: (lab: Lab) => Promise<T>, options: CallOptions = {}): Promise<T> {
    const until = eitherSignal(this.closed.signal, options.signal);
    for (let tries = 1; ; tries += 1) {
      const lab = await this.remote(options);
      try {
        return await action(lab);
      } catch (error) {
        until.throwIfAborted();
        const betweenTwo =
          error instanceof BoraError &&
          ((error.code === "store_busy" && lab === this.local && !this.local.isController) ||
            (error.code === "interrupted" && lab !== this.local));
        if (!betweenTwo || tries >= findControllerTries) throw error;
        await delay(200, undefined, { signal: until }).catch(() => {
          until.throwIfAborted();
        });
      }
    }
  }
}
