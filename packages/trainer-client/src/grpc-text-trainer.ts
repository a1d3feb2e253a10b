import type { wire } from "@bora/contracts";
import { checkApiVersion } from "./api-version.js";
import { dial, type TrainerClient } from "./channel.js";
import { receiveFiles } from "./receive-files.js";
import { fromRemote } from "./remote-error.js";
import type { ConnectTextTrainer, TextTrainer } from "./text-trainer.js";
import type { TrainerAddress } from "./trainer.js";

class GrpcTextTrainer implements TextTrainer {
  readonly #address: string;
  readonly #client: TrainerClient;
  readonly #close: () => void;

  constructor(address: TrainerAddress) {
    const { channel, client } = dial(address);
    this.#address = address.address;
    this.#client = client;
    this.#close = () => channel.close();
  }

  async check(signal: AbortSignal): Promise<void> {
    try {
      checkApiVersion(await this.#client.describe({}, { signal }), this.#address);
    } catch (thrown) {
      throw fromRemote(thrown, this.#address);
    }
  }

  async *generate(request: wire.GenerateRequest, signal: AbortSignal): AsyncGenerator<wire.GenerateResponse> {
    const left = new AbortController(); // whoever leaves the loop early ends the call with it
    try {
      yield* this.#client.generate(request, { signal: AbortSignal.any([signal, left.signal]) });
    } catch (thrown) {
      throw fromRemote(thrown, this.#address);
    } finally {
      left.abort();
    }
  }

  async merge(request: wire.MergeRequest, to: string, signal: AbortSignal): Promise<string[]> {
    try {
      return await receiveFiles(this.#client.merge(request, { signal }), to);
    } catch (thrown) {
      throw fromRemote(thrown, this.#address);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
  }
}

/** A trainer over gRPC. Rejects with trainer_lost, unauthenticated or api_mismatch. */
export const connectTextTrainer: ConnectTextTrainer = async (address, signal) => {
  const trainer = new GrpcTextTrainer(address);
  try {
    await trainer.check(signal);
    return trainer;
  } catch (thrown) {
    await trainer[Symbol.asyncDispose]();
    throw thrown;
  }
};
