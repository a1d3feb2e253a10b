import { setTimeout as delay } from "node:timers/promises";
import {
  parseExperiment,
  SweepResults,
  type DocumentRow,
  type ExperimentInput,
  type ExperimentSpec,
} from "@bora/contracts";
import type { z } from "zod";
import { eitherSignal, labClosed, type CallOptions } from "./abortable.js";
import { ControllerState, controllerPaths, JoinedSweep, toJson } from "./controller-api.js";
import { decodeDocument } from "./documents.js";
import type { AdaptOutcome, AdaptRequest } from "./adapt.js";
import type { EvaluateOutcome, EvaluateRequest } from "./evaluate.js";
import type { Exported, ExportRequest } from "./export/export-request.js";
import type { FewShotOutcome, FewShotRequest } from "./few-shot-curves.js";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "./generate-request.js";
import { askJson, askText, type ControllerAddress } from "./http-client.js";
import type { Lab, SweepCommand, SweepHandle, SweepOptions, SweepStatus } from "./lab.js";
import { decodePreview, type Preview } from "./preview.js";
import { remoteTexts } from "./remote-texts.js";
import { RemoteSweep } from "./remote-sweep.js";
import { remoteAnswer, remoteWork, type WorkListener } from "./remote-work.js";
import type { SeriesOptions } from "./sweep-series.js";
import { anchored as anchoredWork, workAnswers } from "./work-api.js";

/** Paths as this process sees them: the controller's working directory may be another. */
const anchored = (spec: ExperimentInput): ExperimentSpec => parseExperiment(spec, process.cwd());

/** The same door, through the HTTP of a controller that runs in another process. */
export class RemoteLab implements Lab {
  private readonly closed = new AbortController();

  constructor(readonly address: ControllerAddress) {}

  async plan(spec: ExperimentInput, { signal, onStage }: SweepOptions = {}): Promise<Preview> {
    const listener = { signal: this.open(signal), onStage };
    return decodePreview(await remoteAnswer(this.address, controllerPaths.plan, toJson(anchored(spec)), listener));
  }

  async sweep(spec: ExperimentInput, options: SweepOptions = {}): Promise<SweepHandle> {
    const request = { method: "POST", body: toJson(anchored(spec)), signal: this.open(options.signal) } as const;
    for (;;) {
      const { sweepId } = await askJson(this.address, controllerPaths.sweeps, JoinedSweep, request);
      if (sweepId !== null) return this.handle(sweepId, options);
      options.onStage?.("another process is planning this experiment");
      await delay(500, undefined, { signal: request.signal }).catch(() => {
        request.signal.throwIfAborted();
      });
    }
  }

  async continue(sweepId: string, command: SweepCommand, options: SweepOptions = {}): Promise<SweepHandle> {
    const sweep = this.handle(sweepId, options);
    await sweep.send(command);
    return sweep;
  }

  async follow(sweepId: string, { signal }: CallOptions = {}): Promise<SweepHandle> {
    const sweep = this.handle(sweepId, {});
    await sweep.find(this.open(signal));
    return sweep;
  }

  async status({ signal }: CallOptions = {}): Promise<SweepStatus[]> {
    return (await this.state(signal)).sweeps;
  }

  /** Who answers; rejects with interrupted when nobody does. */
  state(signal?: AbortSignal): Promise<z.output<typeof ControllerState>> {
    return askJson(this.address, controllerPaths.state, ControllerState, { signal: this.open(signal) });
  }

  results(sweepId: string, { signal }: CallOptions = {}): Promise<SweepResults> {
    return askJson(this.address, controllerPaths.results(sweepId), SweepResults, { signal: this.open(signal) });
  }

  async documents(sweepId: string, { signal }: CallOptions = {}): Promise<DocumentRow[]> {
    const path = controllerPaths.documents(sweepId);
    const lines = await askText(this.address, path, { signal: this.open(signal) });
    return lines.split("\n").flatMap((line) => (line === "" ? [] : [decodeDocument(line)]));
  }

  generate(request: GenerateRequest, options: GenerateOptions = {}): AsyncIterable<GeneratedPiece> {
    return remoteTexts(this.address, request, { ...options, signal: this.open(options.signal) });
  }

  export(request: ExportRequest, options: GenerateOptions = {}): Promise<Exported> {
    return remoteWork(this.address, "export", workAnswers.export, anchoredWork.export(request), this.listener(options));
  }

  adapt(request: AdaptRequest, options: SeriesOptions = {}): Promise<AdaptOutcome> {
    return remoteWork(this.address, "adapt", workAnswers.adapt, anchoredWork.adapt(request), this.listener(options));
  }

  fewShotCurves(request: FewShotRequest, options: SeriesOptions = {}): Promise<FewShotOutcome> {
    return remoteWork(this.address, "few-shot-curves", workAnswers["few-shot-curves"], request, this.listener(options));
  }

  async evaluate(request: EvaluateRequest, options: SeriesOptions = {}): Promise<EvaluateOutcome> {
    return remoteWork(
      this.address,
      "evaluate",
      workAnswers.evaluate,
      anchoredWork.evaluate(request),
      this.listener(options),
    );
  }

  /** Ends every request and follower; what the controller runs goes on. */
  [Symbol.asyncDispose](): Promise<void> {
    this.closed.abort(labClosed());
    return Promise.resolve();
  }

  private listener({ signal, onStage, onNotice, onSweep }: SeriesOptions): WorkListener {
    return {
      ...{ signal: this.open(signal), onStage, onNotice },
      onSweep: onSweep && ((sweepId, words) => onSweep(this.handle(sweepId, { signal }), words)),
    };
  }

  private handle(sweepId: string, { signal }: CallOptions): RemoteSweep {
    return new RemoteSweep(this.address, sweepId, this.open(signal));
  }

  private open(signal: AbortSignal | undefined): AbortSignal {
    return eitherSignal(this.closed.signal, signal);
  }
}
