import { setTimeout as delay } from "node:timers/promises";
import { BoraError, type ExperimentSpec, type SweepResults } from "@bora/contracts";
import { readControllerFile } from "./controller-file.js";
import type { Exported, ExportRequest } from "./export/export-request.js";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "./generate-request.js";
import type { Lab, Preview, SweepCommand, SweepHandle, SweepOptions, SweepStatus } from "./lab.js";
import { labWork, type LabWork } from "./lab-work.js";
import type { LocalLab } from "./local-lab.js";
import { RemoteLab } from "./remote-lab.js";

const answerWithinMs = 2_000;
const findControllerTries = 25; // a controller that has just taken the lock listens within seconds

/** The controller that answers for a folder, or null. */
async function liveController(dir: string): Promise<RemoteLab | null> {
  const file = await readControllerFile(dir);
  if (file === null) return null;
  const remote = new RemoteLab(file);
  return remote.state(AbortSignal.timeout(answerWithinMs)).then(
    () => remote,
    () => null,
  );
}

/** One writer: while a controller lives, everything goes through it; otherwise this process reads, or becomes it. */
export class FolderLab implements Lab {
  constructor(
    private readonly dir: string,
    private readonly local: LocalLab,
  ) {}

  plan(spec: ExperimentSpec, options?: SweepOptions): Promise<Preview> {
    return this.local.plan(spec, options);
  }

  async sweep(spec: ExperimentSpec, options?: SweepOptions): Promise<SweepHandle> {
    return this.throughController((lab) => lab.sweep(spec, options));
  }

  async continue(sweepId: string, command: SweepCommand, options?: SweepOptions): Promise<SweepHandle> {
    return this.throughController((lab) => lab.continue(sweepId, command, options));
  }

  async follow(sweepId: string): Promise<SweepHandle> {
    return (await this.remote()).follow(sweepId);
  }

  async status(): Promise<SweepStatus[]> {
    return (await this.remote()).status();
  }

  async results(sweepId: string): Promise<SweepResults> {
    return this.local.results(sweepId);
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.local[Symbol.asyncDispose]();
  }

  private async remote(): Promise<Lab> {
    return this.local.isController ? this.local : ((await liveController(this.dir)) ?? this.local);
  }

  /** Between a controller's lock and its controller.json, and between its end and its lock's, nobody answers: ask again. */
  private async throughController<T>(action: (lab: Lab) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      const lab = await this.remote();
      try {
        return await action(lab);
      } catch (error) {
        const betweenTwo =
          error instanceof BoraError &&
          ((error.code === "store_busy" && lab === this.local && !this.local.isController) ||
            (error.code === "interrupted" && lab !== this.local));
        if (!betweenTwo || tries >= findControllerTries) throw error;
        await delay(200);
      }
    }
  }
}
