import type { wire } from "@bora/contracts";
import type { TrainerAddress } from "./trainer.js";

/** What a trainer that holds no run does with a base and adapters. Every call rejects with a BoraError. */
export interface TextTrainer extends AsyncDisposable {
  /** Continues a prompt by every adapter at once, a message a token. Leaving the loop, or the signal, ends it there. */
  generate(request: wire.GenerateRequest, signal: AbortSignal): AsyncIterable<wire.GenerateResponse>;
  /**
   * Fills `to`, an empty folder, with the base and one adapter merged, checked by content; returns the files' names.
   * Rejects with disk_full before anything is written, with artifact_corrupt when what arrives is not what was listed.
   */
  merge(request: wire.MergeRequest, to: string, signal: AbortSignal): Promise<string[]>;
}

export type ConnectTextTrainer = (address: TrainerAddress, signal: AbortSignal) => Promise<TextTrainer>;
