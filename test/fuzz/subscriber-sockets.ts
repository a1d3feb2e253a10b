import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { curveKeyPair } from "zeromq";
import { newSubscriberKeys, subscribe } from "../../packages/trainer-client/src/live-events.js";
import type { Random } from "../faults/random.js";
import { mutateBytes, randomBytes } from "./hostile.js";
import { emptyTally, type Tally } from "./tally.js";
import type { Session } from "./worker.js";

const greeting = (mechanism: string): Buffer => {
  const bytes = Buffer.alloc(64); // ZMTP 3: signature, version, mechanism, as-server
  bytes[0] = 0xff;
  bytes[8] = 1;
  bytes[9] = 0x7f;
  bytes[10] = 3;
  bytes[11] = 1;
  bytes.write(mechanism, 12, "latin1");
  return bytes;
};
const command = (name: string, rest: Buffer): Buffer => {
  const body = Buffer.concat([Buffer.from([name.length]), Buffer.from(name), rest]);
  return Buffer.concat([Buffer.from([4, Math.min(255, body.length)]), body]);
};

/** What a peer says that is no trainer: nothing of ZeroMQ, or a handshake that goes wrong somewhere. */
function nonsense(random: Random): Buffer {
  const hello = [
    greeting("CURVE"),
    command("WELCOME", randomBytes(random, 160)),
    command("READY", randomBytes(random, 40)),
  ];
  const kind = random.next();
  if (kind < 0.2) return randomBytes(random, random.whole(1, 2_000));
  if (kind < 0.3) return Buffer.from("HTTP/1.1 200 OK\r\n\r\n");
  if (kind < 0.4)
    return Buffer.concat([greeting(random.pick(["NULL", "PLAIN", ""])), command("READY", Buffer.alloc(0))]);
  if (kind < 0.5) return Buffer.concat([hello[0] ?? Buffer.alloc(0), Buffer.from([6, ...Array<number>(8).fill(0xff)])]);
  const said = Buffer.concat(hello.slice(0, random.whole(1, 3)));
  return kind < 0.8 ? mutateBytes(random, said) : said;
}

const patienceMs = 200; // a connection that is refused comes again after 100 ms

/** Sockets that a subscriber dials and that are no publisher. It stays unconnected, and its reader hears of nothing. */
class Sockets implements Session {
  private said: Buffer = Buffer.alloc(0);
  private heard = 0;

  private constructor(private readonly server: Server) {
    server.on("connection", (socket: Socket) => {
      this.heard += 1;
      socket.on("error", () => undefined);
      socket.write(this.said);
    });
  }

  static async open(): Promise<Sockets> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Sockets(server);
  }

  async run(random: Random, count: number): Promise<Tally> {
    const tally = { ...emptyTally(), inputs: count };
    const { port } = this.server.address() as AddressInfo;
    for (let index = 0; index < count; index += 1) {
      this.said = nonsense(random);
      const before = this.heard;
      const source = { endpoint: `tcp://127.0.0.1:${port}`, serverKey: curveKeyPair().publicKey, runId: "r" };
      using live = subscribe(source, newSubscriberKeys(), patienceMs);
      const event = await live.next();
      if (event !== null || live.connected || live.connections > 0) tally.escapes += 1;
      else if (this.heard === before) tally.hangs += 1;
      else tally.refused["dropped"] = (tally.refused["dropped"] ?? 0) + 1;
    }
    return tally;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    this.server.unref();
    await Promise.resolve();
  }
}

export const open = (): Promise<Session> => Sockets.open();
