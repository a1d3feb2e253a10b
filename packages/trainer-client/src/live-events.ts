import { BoraError, wire } from "@bora/contracts";
import { capability, curveKeyPair, Subscriber } from "zeromq";

/** CURVE, Z85. The public half travels to the trainer by authenticated gRPC, in Start and RenewLease. */
export interface SubscriberKeys {
  publicKey: string;
  secretKey: string;
}

/** Refuses to go on without encryption: events never travel in the clear. */
export function newSubscriberKeys(): SubscriberKeys {
  if (capability.curve !== true)
    throw new BoraError("environment_missing", "this build of ZeroMQ has no CURVE encryption", {
      hint: "install the npm package zeromq with its prebuilt library: npm ci",
    });
  return curveKeyPair();
}

export interface LiveSource {
  endpoint: string; // tcp://host:port
  serverKey: string; // of Describe
  runId: string;
}

/** The lossy live copy of a run's events. */
export interface LiveEvents extends Disposable {
  /** Whether frames can arrive now; false again as soon as the connection breaks. */
  readonly connected: boolean;
  /** Counts connections: another number means that events may have passed unseen. */
  readonly connections: number;
  /** Aborts when the connection stands (at once if it does). */
  untilConnected(): AbortSignal;
  /** The next event; null after a while without one, or when the frame is not an event of this run. */
  next(): Promise<wire.Event | null>;
}

function decode(runId: string, frames: readonly Buffer[]): wire.Event | null {
  const [topic, body] = frames;
  if (frames.length !== 2 || topic === undefined || body === undefined || topic.toString() !== runId) return null;
  try {
    const event = wire.Event.decode(body);
    return event.runId === runId ? event : null;
  } catch {
    return null; // a broken frame is a lost one: the gap it leaves is read again from the log
  }
}

class SubscribedEvents implements LiveEvents {
  readonly #socket: Subscriber;
  readonly #runId: string;
  #established = new AbortController();
  connections = 0;

  constructor(source: LiveSource, keys: SubscriberKeys, idleMs: number) {
    this.#runId = source.runId;
    this.#socket = new Subscriber({
      curvePublicKey: keys.publicKey,
      curveSecretKey: keys.secretKey,
      curveServerKey: source.serverKey,
      maxMessageSize: 1024 * 1024,
      receiveHighWaterMark: 10_000,
      receiveTimeout: idleMs,
      linger: 0,
      heartbeatInterval: 2_000,
      heartbeatTimeout: 6_000,
      reconnectInterval: 100,
      reconnectMaxInterval: 5_000,
    });
    this.#socket.events.on("handshake", () => {
      this.connections += 1;
      this.#established.abort();
    });
    this.#socket.events.on("disconnect", () => {
      if (this.connected) this.#established = new AbortController();
    });
    this.#socket.connect(source.endpoint);
    this.#socket.subscribe(source.runId);
  }

  get connected(): boolean {
    return this.#established.signal.aborted;
  }

  untilConnected(): AbortSignal {
    return this.#established.signal;
  }

  async next(): Promise<wire.Event | null> {
    try {
      return decode(this.#runId, await this.#socket.receive());
    } catch (thrown) {
      if (thrown instanceof Error && "code" in thrown && thrown.code === "EAGAIN") return null; // idle, or closed
      throw thrown;
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** Subscribes to one run. `idleMs` bounds how long `next` waits. */
export const subscribe = (source: LiveSource, keys: SubscriberKeys, idleMs: number): LiveEvents =>
  new SubscribedEvents(source, keys, idleMs);

/** What a trainer bound to every interface announces (tcp://0.0.0.0:port), as seen from here. */
export function reachableEndpoint(endpoint: string, grpcAddress: string): string {
  const host = grpcAddress.slice(0, grpcAddress.lastIndexOf(":"));
  return endpoint.replace(/^tcp:\/\/(0\.0\.0\.0|\[::\]|\*):/, `tcp://${host}:`);
}
