import { setTimeout as delay } from "node:timers/promises";
import {
  BoraError,
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
import type { Exported } from "./export/export-request.js";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "./generate-request.js";
import { askEvents, askJson, askText, failureIn, type ControllerAddress } from "./http-client.js";
import type { Lab, SweepCommand, SweepHandle, SweepOptions, SweepStatus } from "./lab.js";
import { decodePreview, type Preview } from "./preview.js";
import { remoteTexts } from "./remote-texts.js";
import { RemoteSweep } from "./remote-sweep.js";

/** Paths as this process sees them: the controller's working directory may be another. */
const anchored = (spec: ExperimentInput): ExperimentSpec => parseExperiment(spec, process.cwd());

/** Adapters are read where they lie. */
const byItsFolder = (): Promise<never> =>
  Promise.reject(
    new BoraError("usage", "adapters and documents lie in the controller's folder, which its address does not reach", {
      hint: "open the lab by its folder: its controller, where one runs, is found there",
    }),
  );

/** The same door, through the HTTP of a controller that runs in another process. */
export class RemoteLab implements Lab {
  private readonly closed = new AbortController();

  constructor(readonly address: ControllerAddress) {}

  async plan(spec: ExperimentInput, { signal, onStage }: SweepOptions = {}): Promise<Preview> {
    const request = { method: "POST", body: toJson(anchored(spec)), signal: this.open(signal) } as const;
    for await (const { event, data } of askEvents(this.address, controllerPaths.plan, request)) {
      if (event === "preview") return decodePreview(data);
      if (event === "failed") throw failureIn(data);
      if (event === "stage") onStage?.(data);
    }
    throw new BoraError("interrupted", `the controller at ${this.address.url} left before it had planned`, {
      hint: "plan again; a folder is planned for without its controller",
    });
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

  export(): Promise<Exported> {
    return Promise.reject(
      new BoraError("usage", "a controller writes nothing outside its own folder", {
        hint: "open the lab by its folder: an export needs no controller",
      }),
    );
  }

  adapt(): Promise<never> {
    return byItsFolder();
  }

  fewShotCurves(): Promise<never> {
    return byItsFolder();
  }

  evaluate(): Promise<never> {
    return byItsFolder();
  }

  /** Ends every request and follower; what the controller runs goes on. */
  [Symbol.asyncDispose](): Promise<void> {
    this.closed.abort(labClosed());
    return Promise.resolve();
  }

  private handle(sweepId: string, { signal }: CallOptions): RemoteSweep {
    return new RemoteSweep(this.address, sweepId, this.open(signal));
  }

  private open(signal: AbortSignal | undefined): AbortSignal {
    return eitherSignal(this.closed.signal, signal);
  }
}
