import { setTimeout as delay } from "node:timers/promises";
import { BoraError, SweepResults, type ExperimentSpec } from "@bora/contracts";
import type { z } from "zod";
import { ControllerState, controllerPaths, JoinedSweep, toJson } from "./controller-api.js";
import { ask, askJson, type ControllerAddress } from "./http-client.js";
import type { Exported } from "./export/export-request.js";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "./generate-request.js";
import type { Lab, Preview, SweepCommand, SweepHandle, SweepOptions, SweepStatus } from "./lab.js";
import { remoteTexts } from "./remote-texts.js";
import { RemoteSweep } from "./remote-sweep.js";

/** Adapters are read where they lie. */
const byItsFolder = (): Promise<never> =>
  Promise.reject(
    new BoraError("usage", "adapters and documents lie in the controller's folder, which its address does not reach", {
      hint: "open the lab by its folder: its controller, where one runs, is found there",
    }),
  );

/** The same door, through the HTTP of a controller that runs in another process. */
export class RemoteLab implements Lab {
  constructor(private readonly address: ControllerAddress) {}

  /** A controller is at work on one experiment: planning another is for a process of its own. */
  plan(): Promise<Preview> {
    return Promise.reject(
      new BoraError("usage", "a running controller plans no other experiment", {
        hint: "open the lab by its folder: planning needs no controller",
      }),
    );
  }

  async sweep(spec: ExperimentSpec, options: SweepOptions = {}): Promise<SweepHandle> {
    const body = toJson(spec);
    for (;;) {
      const request = { method: "POST", body, ...(options.signal ? { signal: options.signal } : {}) } as const;
      const { sweepId } = await askJson(this.address, controllerPaths.sweeps, JoinedSweep, request);
      if (sweepId !== null) return new RemoteSweep(this.address, sweepId);
      options.onStage?.("another process is planning this experiment");
      await delay(500, undefined, options.signal ? { signal: options.signal } : {});
    }
  }

  async continue(sweepId: string, command: SweepCommand): Promise<SweepHandle> {
    const sweep = new RemoteSweep(this.address, sweepId);
    await sweep.send(command);
    return sweep;
  }

  follow(sweepId: string): Promise<SweepHandle> {
    return Promise.resolve(new RemoteSweep(this.address, sweepId));
  }

  async status(): Promise<SweepStatus[]> {
    return (await this.state()).sweeps;
  }

  /** Who answers; rejects with interrupted when nobody does. */
  state(signal?: AbortSignal): Promise<z.output<typeof ControllerState>> {
    return askJson(this.address, controllerPaths.state, ControllerState, signal ? { signal } : {});
  }

  async results(sweepId: string): Promise<SweepResults> {
    return SweepResults.parse(await (await ask(this.address, controllerPaths.results(sweepId))).json());
  }

  generate(request: GenerateRequest, options: GenerateOptions = {}): AsyncIterable<GeneratedPiece> {
    return remoteTexts(this.address, request, options);
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

  async [Symbol.asyncDispose](): Promise<void> {
    // holds nothing
  }
}
