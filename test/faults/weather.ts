import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { Random } from "./random.js";

/** What happens between an orchestrator and its trainers. Times in milliseconds; what is left out does not happen. */
export interface Weather {
  loss?: number; // share of ZeroMQ messages that never arrive
  stalls?: { times: number; every: number; last: number }; // nothing moves for so long, then all of it does
  resets?: { times: number; every: number }; // every connection is reset
  halfOpen?: { times: number; every: number; last: number }; // connections go dead without a word; new ones too, for a while
}

const topicBytes = 69; // a run id's frame under CURVE: 8 "MESSAGE", 8 nonce, 16 mac, 1 flags, 36 text
const greetingBytes = 64;

/** Passes on what a ZeroMQ publisher sends, but for whole messages that chance drops (ZMTP 3 frames under CURVE). */
class LossyFrames {
  private rest = Buffer.alloc(0);
  private greeting = greetingBytes; // still to pass: both sides wait for parts of each other's
  private dropping = false;
  dropped = 0;

  constructor(
    private readonly loss: number,
    private readonly random: Random,
  ) {}

  pass(bytes: Buffer): Buffer {
    this.rest = Buffer.concat([this.rest, bytes]);
    const out = [this.take(Math.min(this.greeting, this.rest.length))];
    this.greeting -= out[0]?.length ?? 0;
    for (let frame = this.nextFrame(); frame !== null; frame = this.nextFrame()) if (this.keeps(frame)) out.push(frame);
    return Buffer.concat(out);
  }

  /** A message is a topic's frame and the event's after it: both go, or none. Commands of the connection pass. */
  private keeps(frame: Buffer): boolean {
    const [flags = 0, size = 0] = frame;
    if ((flags & 4) !== 0) return true; // a command of the handshake
    if (size === topicBytes && (flags & 2) === 0) this.dropping = this.random.next() < this.loss;
    if (this.dropping) this.dropped += 1;
    return !this.dropping;
  }

  private nextFrame(): Buffer | null {
    if (this.greeting > 0 || this.rest.length < 2) return null;
    const long = ((this.rest[0] ?? 0) & 2) !== 0;
    if (long && this.rest.length < 9) return null;
    const size = long ? 9 + Number(this.rest.readBigUInt64BE(1)) : 2 + (this.rest[1] ?? 0);
    return this.rest.length < size ? null : this.take(size);
  }

  private take(size: number): Buffer {
    const taken = this.rest.subarray(0, size);
    this.rest = this.rest.subarray(size);
    return taken;
  }
}

interface Pair {
  near: Socket;
  far: Socket;
  dead: boolean;
}

/** A proxy before one address of a trainer. Counts what it did. */
class Proxy {
  readonly pairs = new Set<Pair>();
  dropped = 0;
  deadUntilMs = 0;

  constructor(
    readonly server: Server,
    private readonly target: { host: string; port: number },
    private readonly loss: number,
    private readonly random: Random,
  ) {
    server.on("connection", (near) => {
      this.join(near);
    });
  }

  get address(): string {
    const { port } = this.server.address() as AddressInfo;
    return `127.0.0.1:${port}`;
  }

  private join(near: Socket): void {
    const far = connect(this.target);
    const pair: Pair = { near, far, dead: performance.now() < this.deadUntilMs };
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    let lossy: LossyFrames | null = null;
    near.on("data", (bytes: Buffer) => {
      if (!pair.dead) far.write(bytes);
    });
    far.on("data", (bytes: Buffer) => {
      if (pair.dead) return;
      if (lossy === null && bytes[0] === 0xff && this.loss > 0) lossy = new LossyFrames(this.loss, this.random);
      const before = lossy?.dropped ?? 0;
      near.write(lossy === null ? bytes : lossy.pass(bytes));
      this.dropped += (lossy?.dropped ?? 0) - before;
    });
    for (const socket of [near, far])
      socket
        .on("error", () => undefined)
        .on("close", () => {
          if (!pair.dead) end();
        });
  }
}

/** Proxies before every address, and the weather over all of them. */
export class Sky {
  private readonly proxies = new Map<string, Promise<Proxy>>();
  private readonly random: Random;
  readonly did = { stalls: 0, resets: 0, halfOpen: 0 };

  constructor(
    private readonly weather: Weather,
    seed: number,
  ) {
    this.random = new Random(seed);
    for (const kind of ["stalls", "resets", "halfOpen"] as const) this.later(kind);
  }

  /** Where a trainer's `host:port` is reached from here. */
  async route(address: string): Promise<string> {
    const known = this.proxies.get(address) ?? this.open(address);
    this.proxies.set(address, known);
    return (await known).address;
  }

  async dropped(): Promise<number> {
    const all = await Promise.all(this.proxies.values());
    return all.reduce((sum, { dropped }) => sum + dropped, 0);
  }

  private open(address: string): Promise<Proxy> {
    const { hostname: host, port } = new URL(`tcp://${address}`);
    const server = createServer();
    const proxy = new Proxy(server, { host, port: Number(port) }, this.weather.loss ?? 0, this.random);
    return new Promise((resolve) => {
      server.listen(0, "127.0.0.1", () => {
        resolve(proxy);
      });
    });
  }

  private later(kind: "stalls" | "resets" | "halfOpen"): void {
    const plan = this.weather[kind];
    if (plan === undefined || this.did[kind] >= plan.times) return;
    setTimeout(
      () => {
        void this.strike(kind).then(() => {
          this.later(kind);
        });
      },
      this.random.between(0, plan.every),
    ).unref();
  }

  private async strike(kind: "stalls" | "resets" | "halfOpen"): Promise<void> {
    const proxies = await Promise.all(this.proxies.values());
    const pairs = proxies.flatMap((proxy) => [...proxy.pairs]);
    if (pairs.length === 0) return; // nobody speaks yet: it strikes later
    this.did[kind] += 1;
    console.log(JSON.stringify({ event: { kind: `weather_${kind}`, connections: pairs.length } }));
    if (kind === "resets") for (const { near } of pairs) near.resetAndDestroy();
    if (kind === "stalls") {
      for (const socket of pairs.flatMap(({ near, far }) => [near, far])) socket.pause();
      await new Promise((resolve) => setTimeout(resolve, this.weather.stalls?.last));
      for (const socket of pairs.flatMap(({ near, far }) => [near, far])) socket.resume();
    }
    if (kind === "halfOpen") {
      for (const pair of pairs) pair.dead = true;
      for (const proxy of proxies) proxy.deadUntilMs = performance.now() + (this.weather.halfOpen?.last ?? 0);
    }
  }
}
