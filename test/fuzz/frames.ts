import { readdirSync, readFileSync } from "node:fs";
import { wire } from "@bora/contracts";
import { curveKeyPair, Publisher } from "zeromq";
import { EventOrder, maxHeldEvents } from "../../packages/trainer-client/src/event-order.js";
import { newSubscriberKeys, subscribe } from "../../packages/trainer-client/src/live-events.js";
import type { Random } from "../faults/random.js";
import { hostileNumbers, mutateBytes, randomBytes } from "./hostile.js";
import { preview } from "./judge.js";
import { emptyTally, type Tally } from "./tally.js";
import type { Session } from "./worker.js";

const runId = "6f2c1f0e-8a1f-4a7e-9d55-0a4f6a6f1c11";
const golden = new URL("../../proto/golden/", import.meta.url);
const events = readdirSync(golden)
  .filter((name) => name.startsWith("event_") && name.endsWith(".binpb"))
  .map((name) => wire.Event.decode(readFileSync(new URL(name, golden))));
const lastTrialId = "the last frame of a batch";

function body(random: Random): Buffer {
  const seq = random.next() < 0.8 ? random.whole(0, 3_000) : Math.abs(random.pick(hostileNumbers)) >>> 0;
  const event = { ...random.pick(events), runId, seq, attempt: random.whole(0, 3) };
  const whole = Buffer.from(wire.Event.encode(event).finish());
  const kind = random.next();
  if (kind < 0.2) return whole;
  if (kind < 0.8) return mutateBytes(random, whole);
  if (kind < 0.9) return whole.subarray(0, random.whole(0, whole.length));
  return randomBytes(random, random.whole(0, 200));
}

/** Frames of a message: mostly a topic and a body, as a trainer sends them. */
function frames(random: Random): Buffer[] {
  const kind = random.next();
  if (kind < 0.75) return [Buffer.from(runId), body(random)];
  if (kind < 0.8) return [Buffer.from(`${runId}x`), body(random)]; // ZeroMQ compares beginnings
  if (kind < 0.85) return [Buffer.from(runId)];
  if (kind < 0.9) return [Buffer.from(runId), body(random), body(random)];
  if (kind < 0.95) return [mutateBytes(random, Buffer.from(runId)), body(random)];
  return [Buffer.from(runId), ...Array.from({ length: random.whole(2, 20) }, () => Buffer.alloc(0))];
}

/** A publisher that speaks ZeroMQ and CURVE well, and sends nonsense. */
class Frames implements Session {
  private constructor(
    private readonly publisher: Publisher,
    private readonly live: ReturnType<typeof subscribe>,
  ) {}

  static async open(): Promise<Frames> {
    const { publicKey, secretKey } = curveKeyPair();
    const publisher = new Publisher({ curveServer: true, curveSecretKey: secretKey, sendHighWaterMark: 0, linger: 0 });
    await publisher.bind("tcp://127.0.0.1:*");
    const endpoint = publisher.lastEndpoint ?? "";
    const live = subscribe({ endpoint, serverKey: publicKey, runId }, newSubscriberKeys(), 100);
    const opened = new Frames(publisher, live);
    await opened.untilSubscribed();
    return opened;
  }

  async run(random: Random, count: number): Promise<Tally> {
    const tally = { ...emptyTally(), inputs: count };
    const order = new EventOrder(0);
    const sending = this.send(random, count);
    for (let arrived = 0, silent = 0; ;) {
      const event = await this.next(tally);
      if (event?.trialId === lastTrialId) break;
      if (event === null) {
        silent = arrived === tally.accepted ? silent + 1 : 0;
        if (silent > count + 100) throw new Error("the last frame of the batch never came");
        arrived = tally.accepted;
        continue;
      }
      tally.accepted += 1;
      order.offer(event, random.pick([null, 1, 2]));
      if (order.held > maxHeldEvents) throw new Error(`${order.held} events are held`);
    }
    await sending;
    tally.refused = { "passed over": count - tally.accepted };
    return tally;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.live[Symbol.dispose]();
    this.publisher.close();
  }

  private async next(tally: Tally): Promise<wire.Event | null> {
    try {
      return await this.live.next();
    } catch (thrown) {
      tally.crashes += 1;
      tally.samples.push(`${String(thrown)} ${preview(thrown)}`);
      return null;
    }
  }

  private async send(random: Random, count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      await this.publisher.send(frames(random));
      if (index % 200 === 0) await new Promise((resolve) => setImmediate(resolve)); // the reader reads meanwhile
    }
    await this.publisher.send(this.last());
  }

  private last(): Buffer[] {
    const event = wire.Event.fromPartial({ runId, trialId: lastTrialId });
    return [Buffer.from(runId), Buffer.from(wire.Event.encode(event).finish())];
  }

  private async untilSubscribed(): Promise<void> {
    for (let times = 0; times < 100; times += 1) {
      await this.publisher.send(this.last());
      if ((await this.live.next()) !== null) {
        while ((await this.live.next()) !== null); // those that were sent meanwhile
        return;
      }
    }
    throw new Error("the subscriber does not connect");
  }
}

export const open = (): Promise<Session> => Frames.open();
