import { wire } from "@bora/contracts";
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer, ServerError, Status, type CallContext, type Server } from "nice-grpc";
import { ErrorInfo, errorDetailsServerMiddleware, RichServerError } from "nice-grpc-error-details";
import { curveKeyPair, XPublisher } from "zeromq";

export const token = "0123456789abcdef";
export const runId = "6f1c2f0e-8f5e-4b5e-9a55-000000000001";

/** What becomes of a frame on its way: the list of frames that are sent in its place. */
export type Loss = (event: wire.Event) => wire.Event[];

/** A real gRPC server and a real CURVE publisher that tell a story a test writes. */
export class ScriptedTrainer implements Disposable {
  readonly events: wire.Event[] = [];
  readonly files = new Map<string, Buffer>();
  readonly calls: string[] = [];
  readonly offsets: bigint[] = [];
  readonly #keys = curveKeyPair();
  #publisher: XPublisher | null = null;
  #subscriptions = 0;
  #server: Server | null = null;
  readonly #log = new EventEmitter();
  apiVersion = "1.3";
  endpoint = "tcp://127.0.0.1:1"; // nobody listens there
  port = 0;
  loss: Loss = (event) => [event];
  /** Runs before a call is answered; throws to fail it. */
  before: (call: string) => void | Promise<void> = () => undefined;
  /** Ends ReadArtifact after so many chunks. */
  breakAfterChunks = Infinity;
  start: wire.StartRequest | null = null;
  held = true;

  async listen(): Promise<string> {
    this.#server = createServer().use(errorDetailsServerMiddleware);
    this.#server.add(wire.TrainerServiceDefinition, this.#service());
    this.port = await this.#server.listen(`127.0.0.1:${this.port}`);
    return `127.0.0.1:${this.port}`;
  }

  async openPublisher(): Promise<void> {
    const publisher = new XPublisher({
      curveServer: true,
      curvePublicKey: this.#keys.publicKey,
      curveSecretKey: this.#keys.secretKey,
      linger: 0,
    });
    await publisher.bind("tcp://127.0.0.1:*");
    this.endpoint = publisher.lastEndpoint ?? "";
    this.#publisher = publisher;
    void this.#countSubscriptions(publisher);
  }

  /** When somebody's subscription has arrived here: frames sent before are lost, which a test must not leave to chance. */
  async subscribed(): Promise<void> {
    while (this.#subscriptions === 0) await once(this.#log, "subscribed");
  }

  async #countSubscriptions(publisher: XPublisher): Promise<void> {
    for await (const [frame] of publisher) {
      if (frame?.[0] !== 1) continue; // XPUB hands over 1 + topic for a subscription, 0 + topic for its end
      this.#subscriptions += 1;
      this.#log.emit("subscribed");
    }
  }

  closePublisher(): void {
    this.#publisher?.close();
    this.#publisher = null;
  }

  /** Appends to the log, then publishes, as the trainer does. */
  async say(body: wire.Event["body"], attempt = 1): Promise<void> {
    const seq = this.events.length + 1;
    const event = wire.Event.fromPartial({ runId, seq, attempt, body: body as never });
    this.events.push(event);
    this.#log.emit("appended");
    for (const frame of this.loss(event)) await this.publish(wire.Event.encode(frame).finish());
  }

  async publish(frame: Uint8Array): Promise<void> {
    await this.#publisher?.send([runId, Buffer.from(frame)]);
  }

  get ended(): boolean {
    const last = this.events.at(-1)?.body?.$case;
    return last === "runDone" || last === "runFailed";
  }

  async kill(): Promise<void> {
    this.#server?.forceShutdown();
    this.#server = null;
  }

  [Symbol.dispose](): void {
    void this.kill();
    this.closePublisher();
  }

  async #enter(call: string, context: CallContext): Promise<void> {
    this.calls.push(call);
    if (context.metadata.get("authorization") !== `Bearer ${token}`)
      throw new ServerError(Status.UNAUTHENTICATED, "the call carries no valid token");
    await this.before(call);
  }

  #service(): wire.TrainerServiceImplementation {
    const state = () => (this.ended ? wire.RunState.ENDED : wire.RunState.TRAINING);
    return {
      describe: async (_, context) => {
        await this.#enter("describe", context);
        return {
          apiVersion: this.apiVersion,
          instanceId: "instance",
          eventsEndpoint: this.endpoint,
          eventsPublicKey: this.#keys.publicKey,
          held: this.held ? { runId, attempt: 1, lastSeq: this.events.length, state: state() } : undefined,
        };
      },
      inspect: async (_, context) => {
        await this.#enter("inspect", context);
        return { dataHash: "d", tasks: [{ name: "Hamlet", slug: "hamlet", cutTokens: 7n }] };
      },
      start: async (request, context) => {
        await this.#enter("start", context);
        this.start = request;
        return { accepted: true, lastSeq: this.events.length };
      },
      renewLease: async (_, context) => {
        await this.#enter("renewLease", context);
        return { lastSeq: this.events.length, state: state() };
      },
      cancel: async (request, context) => {
        await this.#enter(`cancel ${wire.CancelMode[request.mode]}`, context);
        return {};
      },
      readEvents: (request, context) => this.#readEvents(request, context),
      readArtifact: (request, context) => this.#readArtifact(request, context),
    };
  }

  async *#readEvents({ afterSeq, follow }: wire.ReadEventsRequest, context: CallContext) {
    await this.#enter(follow ? "readEvents follow" : "readEvents", context);
    for (let seq = afterSeq; ;) {
      for (; seq < this.events.length; seq += 1) yield { event: this.events[seq] };
      if (!follow || this.ended || context.signal.aborted) return;
      if (seq >= this.events.length)
        await once(this.#log, "appended", { signal: context.signal }).catch(() => undefined);
    }
  }

  async *#readArtifact({ path, offset }: wire.ReadArtifactRequest, context: CallContext) {
    await this.#enter("readArtifact", context);
    this.offsets.push(offset);
    const file = this.files.get(path);
    if (file === undefined) throw rich("artifact_corrupt", "no such file", "see the run's events", "infra");
    for (let at = Number(offset), chunks = 0; at < file.length; at += 1000, chunks += 1) {
      if (chunks === this.breakAfterChunks) throw new ServerError(Status.UNAVAILABLE, "connection reset");
      yield { chunk: file.subarray(at, at + 1000) };
    }
    yield { sha256: sha256(file) };
  }
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** An error as the trainer sends it: ErrorInfo in grpc-status-details-bin. */
export function rich(reason: string, message: string, hint: string, domain: string): RichServerError {
  const info = ErrorInfo.fromPartial({ reason, domain: "trainer.bora", metadata: { hint, domain } });
  return new RichServerError(Status.FAILED_PRECONDITION, message, [info]);
}
