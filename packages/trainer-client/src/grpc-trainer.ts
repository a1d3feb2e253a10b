import { BoraError, inspectedFromProto, type Inspected, wire } from "@bora/contracts";
import { setTimeout as delay } from "node:timers/promises";
import { checkApiVersion } from "./api-version.js";
import { dial, type TrainerClient } from "./channel.js";
import { fetchArtifact } from "./fetch-artifact.js";
import { newSubscriberKeys, reachableEndpoint, subscribe, type LiveEvents } from "./live-events.js";
import { readInOrder } from "./read-in-order.js";
import { fromRemote } from "./remote-error.js";
import type { ConnectTrainer, HeldAttempt, InspectedBase, StartAttempt, Trainer, TrainerAddress } from "./trainer.js";

/** Times in milliseconds, for tests; the defaults are those of docs/protocol.md. */
export interface TrainerTimes {
  /** Silence after which the trainer's last_seq is compared with what has arrived. */
  idleMs: number;
  /** Silence after which a file transfer counts as broken. */
  chunkMs: number;
  /** Pause before a broken stream is taken up again; doubles. */
  backoffMs: number;
}
const defaultTimes: TrainerTimes = { idleMs: 2_000, chunkMs: 30_000, backoffMs: 250 };
const streamAttempts = 3;
const logDeadlineMs = 60_000;

interface KnownRun {
  runId: string;
  attempt: number;
  lastSeq: number;
  ended: boolean;
}

class GrpcTrainer implements Trainer {
  readonly #address: string;
  readonly #route: TrainerAddress["route"];
  readonly #client: TrainerClient;
  readonly #close: () => void;
  readonly #times: TrainerTimes;
  readonly #keys = newSubscriberKeys();
  readonly #closed = new AbortController();
  #known: KnownRun | null = null;

  constructor(address: TrainerAddress, reached: string, times: TrainerTimes) {
    const { channel, client } = dial({ ...address, address: reached });
    this.#address = address.address;
    this.#route = address.route;
    this.#client = client;
    this.#close = () => channel.close();
    this.#times = times;
  }

  async describe(signal: AbortSignal): Promise<wire.DescribeResponse> {
    const answer = await this.#ask(this.#client.describe({}, { signal }));
    checkApiVersion(answer, this.#address);
    return answer;
  }

  async inspect(base: InspectedBase, signal: AbortSignal): Promise<Inspected> {
    const { model, data, adapter, prior, evaluate } = base;
    const named = evaluate === undefined ? [prior?.mean?.path] : evaluate.adapters.map(({ path }) => path);
    const folders = [...new Set(named.flatMap((path = "") => (path === "" ? [] : [path])))];
    const request = { model, data, adapter, adapterFolders: folders, sameShape: evaluate === undefined };
    return inspectedFromProto(await this.#ask(this.#client.inspect(request, { signal })));
  }

  async start(start: StartAttempt, signal: AbortSignal): Promise<void> {
    const { lastSeq } = await this.#ask(
      this.#client.start({ ...start, subscriberKey: this.#subscriberKey }, { signal }),
    );
    this.#known = { runId: start.spec.runId, attempt: start.attempt, lastSeq, ended: false };
  }

  async renew(held: HeldAttempt, leaseMs: number, storedSeq: number, signal: AbortSignal) {
    const request = { ...held, leaseMs, storedSeq, subscriberKey: this.#subscriberKey };
    const answer = await this.#ask(this.#client.renewLease(request, { signal }));
    this.#known = { ...held, lastSeq: answer.lastSeq, ended: answer.state === wire.RunState.ENDED };
    return answer;
  }

  async cancel(held: HeldAttempt, mode: "drain" | "kill", signal: AbortSignal): Promise<void> {
    const wireMode = mode === "drain" ? wire.CancelMode.DRAIN : wire.CancelMode.KILL;
    await this.#ask(this.#client.cancel({ ...held, mode: wireMode }, { signal }));
  }

  async *events(runId: string, afterSeq: number, signal: AbortSignal): AsyncGenerator<wire.Event, void, undefined> {
    const until = AbortSignal.any([signal, this.#closed.signal]);
    const live = await this.#subscribe(runId, until);
    const close = () => live?.[Symbol.dispose]();
    until.addEventListener("abort", close);
    const sources = {
      log: (seq: number, follow: boolean, stop: AbortSignal) => this.#log(runId, seq, follow, stop),
      live,
      known: () => (this.#known?.runId === runId ? this.#known : { attempt: null, lastSeq: 0, ended: false }),
    };
    try {
      yield* readInOrder(sources, afterSeq, until);
    } finally {
      until.removeEventListener("abort", close);
      close();
    }
  }

  async fetch(runId: string, artifact: wire.Artifact, to: string, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await fetchArtifact(artifact, to, (offset) => this.#chunks(runId, artifact.path, offset, signal));
      } catch (thrown) {
        const error = fromRemote(thrown, this.#address);
        if (error.code !== "trainer_lost" || attempt === streamAttempts || signal.aborted) throw error;
        await delay(this.#times.backoffMs * 2 ** attempt, undefined, { signal });
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    this.#close();
  }

  get #subscriberKey(): Buffer {
    return Buffer.from(this.#keys.publicKey);
  }

  async #ask<Answer>(call: Promise<Answer>): Promise<Answer> {
    try {
      return await call;
    } catch (thrown) {
      throw fromRemote(thrown, this.#address);
    }
  }

  /** A subscription where the trainer holds the run; null where there is nothing to come. */
  async #subscribe(runId: string, signal: AbortSignal): Promise<LiveEvents | null> {
    const { held, eventsEndpoint, eventsPublicKey } = await this.describe(signal);
    if (held?.runId !== runId || held.state === wire.RunState.ENDED || eventsEndpoint === "") return null;
    const announced = reachableEndpoint(eventsEndpoint, this.#address);
    const target = announced.replace(/^tcp:\/\//, "");
    const endpoint = this.#route === undefined ? announced : `tcp://${await this.#route(target)}`;
    return subscribe({ endpoint, serverKey: eventsPublicKey, runId }, this.#keys, this.#times.idleMs);
  }

  /** The run's log, taken up again where a stream broke off. */
  async *#log(runId: string, afterSeq: number, follow: boolean, signal: AbortSignal): AsyncGenerator<wire.Event> {
    const options = follow ? { signal } : { signal, deadline: logDeadlineMs };
    for (let failures = 0; ;) {
      try {
        for await (const { event } of this.#client.readEvents({ runId, afterSeq, follow }, options)) {
          if (event === undefined) continue;
          yield event;
          afterSeq = event.seq;
          failures = 0;
        }
        return;
      } catch (thrown) {
        const error = fromRemote(thrown, this.#address);
        failures += 1;
        if (error.code !== "trainer_lost" || failures === streamAttempts || signal.aborted) throw error;
        await delay(this.#times.backoffMs * 2 ** failures, undefined, { signal });
      }
    }
  }

  /** One transfer, given up after 30 s without a chunk. */
  async *#chunks(runId: string, path: string, offset: number, signal: AbortSignal) {
    const idle = new AbortController();
    const giveUp = () => idle.abort();
    let timer = setTimeout(giveUp, this.#times.chunkMs);
    try {
      const request = { runId, path, offset: BigInt(offset) };
      const chunks = this.#client.readArtifact(request, { signal: AbortSignal.any([signal, idle.signal]) });
      for await (const chunk of chunks) {
        clearTimeout(timer);
        yield chunk;
        timer = setTimeout(giveUp, this.#times.chunkMs);
      }
    } catch (thrown) {
      if (!idle.signal.aborted) throw thrown;
      throw new BoraError("trainer_lost", `no byte of ${path} came for ${this.#times.chunkMs} ms`, {
        hint: "the machine may be overloaded or the network blocked",
        cause: thrown,
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Dials a trainer and checks that it speaks our API. Rejects with trainer_lost, unauthenticated or api_mismatch. */
export async function openTrainer(
  address: TrainerAddress,
  signal: AbortSignal,
  times: Partial<TrainerTimes> = {},
): Promise<Trainer> {
  const reached = (await address.route?.(address.address)) ?? address.address;
  const trainer = new GrpcTrainer(address, reached, { ...defaultTimes, ...times });
  try {
    await trainer.describe(signal);
    return trainer;
  } catch (thrown) {
    await trainer[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** Trainers over gRPC and ZeroMQ. */
export const connectTrainer: ConnectTrainer = (address, signal) => openTrainer(address, signal);
