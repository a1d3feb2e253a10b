import { setTimeout as sleep } from "node:timers/promises";
import { createInterface } from "node:readline";
import { wire } from "@bora/contracts";
import { createServer, ServerError, Status, type CallContext } from "nice-grpc";
import { curveKeyPair, Publisher } from "zeromq";
import { z } from "zod";
import { FakeRun, sha256, slugOf, tasks } from "./fake-run.js";

// `fake-trainer.ts JSON`: a trainer that trains nothing and speaks the whole protocol: commands, leases, the log and files
// over gRPC, live events over ZeroMQ with CURVE. A line on its standard input begins the run that it holds, so that all
// trainers of a test begin together. It prints lines of JSON: its address, that it holds a run, and what the run has told.
const Asked = z.object({
  token: z.string(),
  events: z.number(), // of a run while it trains
  eventsPerSecond: z.number(),
  artifactBytes: z.number().default(0),
});
const asked = Asked.parse(JSON.parse(process.argv[2] ?? ""));

const tickMs = 20;
const documents = { train: 40n, validation: 10n, test: 10n };
const scoredTokens = { train: 4_000n, validation: 1_000n, test: 1_000n };
const gibibyte = 2n ** 30n;

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const keys = curveKeyPair();
const publisher = new Publisher({
  ...{ curveServer: true, curvePublicKey: keys.publicKey, curveSecretKey: keys.secretKey },
  ...{ linger: 0, sendHighWaterMark: 10_000 },
});
await publisher.bind("tcp://127.0.0.1:*");

let begin: () => void = () => undefined;
const begun = new Promise<void>((resolve) => (begin = resolve));
createInterface(process.stdin)
  .once("line", () => {
    begin();
  })
  .once("close", () => process.exit()); // whoever started it is gone

/** The run in hand: how much of it is told, and who waits for more of its log. */
class Telling {
  told = 0; // events
  private waiting: (() => void)[] = [];

  constructor(readonly run: FakeRun) {}

  get ended(): boolean {
    return this.told === this.run.events.length;
  }

  get lastSeq(): number {
    return this.told;
  }

  /** Publishes at the rate asked for, as the clock has it: what a busy moment delays is made up for. */
  async tellAll(): Promise<void> {
    const { events, spec } = this.run;
    const beganMs = performance.now();
    while (!this.ended) {
      const due = Math.min(
        events.length,
        Math.floor(((performance.now() - beganMs) / 1000) * asked.eventsPerSecond) + 1,
      );
      const from = this.told;
      this.told = due; // an event is in the log before anybody hears of it
      for (const event of events.slice(from, due)) await publisher.send([spec.runId, event]);
      for (const wake of this.waiting.splice(0)) wake();
      await sleep(tickMs);
    }
    const seconds = (performance.now() - beganMs) / 1000;
    say({ told: { runId: spec.runId, events: events.length, sha256: this.run.sha256, seconds } });
  }

  more(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      signal.addEventListener("abort", () => {
        resolve();
      });
    });
  }
}

let telling: Telling | null = null;

function requireRun(runId: string): Telling {
  if (telling?.run.spec.runId === runId) return telling;
  throw new ServerError(Status.NOT_FOUND, `no run ${runId} is held here`);
}

function enter(context: CallContext): void {
  if (context.metadata.get("authorization") !== `Bearer ${asked.token}`)
    throw new ServerError(Status.UNAUTHENTICATED, "the call carries no valid token");
}

const stateOf = ({ ended }: Telling): wire.RunState => (ended ? wire.RunState.ENDED : wire.RunState.TRAINING);

async function* readEvents({ runId, afterSeq, follow }: wire.ReadEventsRequest, context: CallContext) {
  enter(context);
  const of = requireRun(runId);
  for (let seq = afterSeq; ;) {
    for (; seq < of.told; seq += 1) {
      const event = of.run.events[seq];
      if (event !== undefined) yield { event: wire.Event.decode(event) };
    }
    if (!follow || of.ended || context.signal.aborted) return;
    await of.more(context.signal);
  }
}

async function* readArtifact({ runId, path, offset }: wire.ReadArtifactRequest, context: CallContext) {
  enter(context);
  const { run } = requireRun(runId);
  const file = run.files.get(path);
  if (file !== undefined) {
    yield { chunk: file.subarray(Number(offset)), sha256: sha256(file) };
    return;
  }
  if (run.filler?.artifact.path !== path) throw new ServerError(Status.NOT_FOUND, `no file ${path}`);
  for (const chunk of run.filler.chunks(Number(offset))) yield { chunk };
  yield { sha256: run.filler.artifact.sha256 };
}

async function* writesNothing(): AsyncGenerator<never> {
  yield* [];
  throw new ServerError(Status.UNIMPLEMENTED, "it only pretends to train");
}

const inspected = wire.InspectResponse.fromPartial({
  tasks: tasks.map((name) => ({ name, slug: slugOf(name), documents, scoredTokens })),
  ...{ dataHash: "d".repeat(64), modelHash: "m".repeat(64), modelName: "a model", baseParameters: 1_000_000n },
  ...{ parametersPerRow: 4_096, adaptedModules: 4, bytesPerRow: 1n, baseBytes: 1n, bytesPerFit: 1n },
  ...{ activationBytesPerToken: 1n, microBatchTokens: 4_096, workingBytes: 1n, processBytes: 1n },
  ...{ device: "cpu", freeMemoryBytes: 64n * gibibyte, memoryBytes: 64n * gibibyte, keptBytesPerToken: 1n },
});

const service: wire.TrainerServiceImplementation = {
  describe: async (_, context) => {
    enter(context);
    const { runId = "" } = telling?.run.spec ?? {};
    const held = telling && { runId, attempt: telling.run.attempt, lastSeq: telling.lastSeq, state: stateOf(telling) };
    return {
      ...{ apiVersion: "1.0", instanceId: `fake-${process.pid}`, eventsEndpoint: publisher.lastEndpoint ?? "" },
      ...{ eventsPublicKey: keys.publicKey, held: held ?? undefined },
    };
  },
  inspect: async (_, context) => {
    enter(context);
    return inspected;
  },
  start: async ({ spec, attempt, firstSeq }, context) => {
    enter(context);
    if (spec === undefined) throw new ServerError(Status.INVALID_ARGUMENT, "no spec");
    if (telling?.run.spec.runId === spec.runId && telling.run.attempt === attempt)
      return { accepted: false, lastSeq: telling.lastSeq };
    const held = new Telling(new FakeRun(spec, attempt, firstSeq, asked));
    telling = held;
    say({ holds: spec.runId });
    void begun.then(() => held.tellAll());
    return { accepted: true, lastSeq: held.lastSeq };
  },
  renewLease: async ({ runId }, context) => {
    enter(context);
    const of = requireRun(runId);
    return { lastSeq: of.lastSeq, step: 1, memoryBytes: 1n, state: stateOf(of) };
  },
  cancel: async (_, context) => {
    enter(context);
    return {};
  },
  readEvents,
  readArtifact,
  generate: writesNothing,
  merge: writesNothing,
};

const server = createServer();
server.add(wire.TrainerServiceDefinition, service);
const port = await server.listen("127.0.0.1:0");
say({ address: `127.0.0.1:${port}` });
