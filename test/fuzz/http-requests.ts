import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { z } from "zod";
import type { Random } from "../faults/random.js";
import { hostileString, hostileValue, mutateBytes, mutateText, mutateValue, randomBytes } from "./hostile.js";
import { ask, HttpBench, type Answer, type Asking } from "./http-bench.js";
import { preview } from "./judge.js";
import { emptyTally, type Tally } from "./tally.js";
import type { Session } from "./worker.js";

const Document = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });

interface Operation {
  server: "page" | "controller";
  method: string;
  path: string; // with {sweepId}
}

/** Every operation that the two documents tell of. */
const operations: Operation[] = (["page", "controller"] as const).flatMap((server) => {
  const file = new URL(`../../docs/openapi/${server}.json`, import.meta.url);
  const { paths } = Document.parse(JSON.parse(readFileSync(file, "utf8")));
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ server, method: method.toUpperCase(), path })),
  );
});

const experiment = {
  ...{ name: "tiny", model: { source: "path", path: "/model" }, data: { source: "shakespeare", tasks: { all: true } } },
  ...{ adapter: { targets: ["q_proj"] }, prior: { taus: [0, 1, "inf"] } },
};
const drawn = { prompt: "to be", seed: 1, maxTokens: 3, temperature: 1, topP: 0.9 };

/** A body that is right, of each operation that has one. */
function wholeBody(path: string, sweepId: string): unknown {
  switch (path) {
    case "/api/login":
      return { token: "x" };
    case "/api/speak":
      return { ...drawn, sources: [{ at: "base", sweepId }] };
    case "/api/sweeps/{sweepId}/commands":
      return { verb: "resume" };
    case "/v1/sweeps/{sweepId}/commands":
      return { verb: "retry", selection: { by: "trials", trialIds: ["t"] } };
    case "/v1/plan":
    case "/v1/sweeps":
      return experiment;
    case "/v1/generate":
      return { ...drawn, model: experiment.model, sources: [{ at: "base" }, { at: "folder", path: "a" }] };
    default:
      return {};
  }
}

const queries = ["before=5&limit=3", "after=0", "split=test", "limit=0", "before=1e99", "split=x", "limit=1&limit=2"];
const methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "PROPFIND", "GeT"];
const extraHeaders = ["last-event-id", "host", "origin", "cookie", "content-type", "x-bora-csrf", "range", "accept"];
const mediaTypes = ["application/json", "application/json; charset=x", "text/plain", "multipart/form-data", "", "a/b"];

/** Without halves of surrogate pairs, which no address can hold. */
const wellFormed = (text: string): string => text.replaceAll(/\p{Surrogate}/gu, "?");

/** A header's value as Node sends it: no control characters, bytes only. */
const headerSafe = (text: string): string => text.replace(/[^\x20-\x7e\x80-\xff]/g, "?").slice(0, 2_000);

class Requests implements Session {
  private constructor(private readonly bench: HttpBench) {}

  static async open(): Promise<Requests> {
    return new Requests(await HttpBench.open());
  }

  residentMiB(): number {
    return this.bench.where.residentMiB;
  }

  async run(random: Random, count: number): Promise<Tally> {
    const tally = emptyTally();
    while (tally.inputs < count && this.bench.alive) {
      tally.inputs += 1;
      if (random.next() < 0.15) await this.raw(random, tally);
      else await this.one(random, tally);
    }
    if (this.bench.alive) await this.bench.again(); // which also tells how much memory is in use
    if (!this.bench.alive) tally.crashes += 1;
    else if (!(await this.answers())) tally.hangs += 1;
    return tally;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bench[Symbol.asyncDispose]();
  }

  private async one(random: Random, tally: Tally): Promise<void> {
    const asking = this.asking(random);
    const answer = await ask(asking);
    this.count(tally, asking, answer);
    const ended = asking.url.includes("/api/logout") && asking.headers["cookie"] === this.bench.cookie;
    if (ended && answer.status === 200) await this.bench.again();
  }

  private asking(random: Random): Asking {
    const { where, cookie, csrf } = this.bench;
    const operation = random.pick(operations);
    const base = operation.server === "page" ? where.page : where.controller;
    const known = () => (random.next() < 0.7 ? where.sweepId : hostileString(random));
    const encoded = (text: string) =>
      random.next() < 0.8 ? encodeURIComponent(wellFormed(text)) : encodeURI(wellFormed(text));
    let path = operation.path.replaceAll(/\{\w+\}/g, () => encoded(known()).slice(0, 4_000));
    if (operation.path === "/api/compare") path += `?sweeps=${encoded(`${known()},${known()}`).slice(0, 4_000)}`;
    else if (random.next() < 0.5)
      path += `?${random.pick([...queries, encoded(hostileString(random)).slice(0, 4_000)])}`;
    const ofPage: Record<string, string> = { cookie, origin: where.page, "x-bora-csrf": csrf };
    const ofController: Record<string, string> = { authorization: `Bearer ${where.token}` };
    const own = operation.server === "page" ? ofPage : ofController;
    const headers: Record<string, string> = random.next() < 0.9 ? { ...own } : {};
    const method = random.next() < 0.9 ? operation.method : random.pick(methods);
    const body = method === "GET" || method === "HEAD" ? null : this.body(random, operation.path);
    if (body !== null) headers["content-type"] = random.next() < 0.9 ? "application/json" : random.pick(mediaTypes);
    if (random.next() < 0.15) headers[random.pick(extraHeaders)] = headerSafe(hostileString(random));
    return {
      method,
      url: base + (random.next() < 0.95 ? path : mutateText(random, path).replace(/^[^/]/, "/")),
      headers,
      body,
    };
  }

  private body(random: Random, path: string): string | Buffer {
    const whole = wholeBody(path, this.bench.where.sweepId);
    const kind = random.next();
    if (kind < 0.02) return JSON.stringify(whole); // a sweep that is right is run
    if (kind < 0.7) return JSON.stringify(mutateValue(random, whole));
    if (kind < 0.8) return JSON.stringify(hostileValue(random));
    if (kind < 0.9) return mutateText(random, JSON.stringify(whole));
    if (kind < 0.92) return `${"[".repeat(random.pick([100, 10_000, 500_000]))}`;
    if (kind < 0.93) return `{"name":"${"x".repeat(2 ** 20)}"}`;
    return randomBytes(random, random.whole(0, 300));
  }

  private count(tally: Tally, asking: Asking, answer: Answer): void {
    if (answer.status === null) {
      if (answer.why === "closed") tally.refused["closed"] = (tally.refused["closed"] ?? 0) + 1;
      else this.fault(tally, "hangs", asking, "no answer");
      return;
    }
    const { status, body } = answer;
    const code = /"error":\{"code":"(\w+)"/.exec(body.slice(0, 200))?.[1];
    if (status < 300) tally.accepted += 1;
    else if (status === 500 || (status > 500 && code === undefined) || code === "internal")
      this.fault(tally, "internal", asking, `${status} ${body.slice(0, 200)}`);
    else if (code === undefined && asking.method !== "HEAD" && status >= 400 && !isPlain(status, body))
      this.fault(tally, "crashes", asking, `${status} without a code: ${body.slice(0, 200)}`);
    else tally.refused[code ?? `HTTP ${status}`] = (tally.refused[code ?? `HTTP ${status}`] ?? 0) + 1;
  }

  private fault(
    tally: Tally,
    kind: "hangs" | "internal" | "crashes",
    { method, url, headers, body }: Asking,
    what: string,
  ): void {
    tally[kind] += 1;
    if (tally.samples.length < 5)
      tally.samples.push(`${method} ${url.slice(0, 200)} ${preview(headers)} ${preview(body?.toString())}: ${what}`);
  }

  /** Bytes at the socket: a request that was cut, flipped or lengthened, or nothing of HTTP. */
  private async raw(random: Random, tally: Tally): Promise<void> {
    const { where, cookie } = this.bench;
    const { port } = new URL(random.pick([where.page, where.controller]));
    const body = JSON.stringify(experiment);
    const whole = `POST /v1/plan HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: ${cookie}\r\nAuthorization: Bearer ${where.token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const said = random.next() < 0.9 ? mutateBytes(random, Buffer.from(whole)) : randomBytes(random, 300);
    const answer = await speak(Number(port), said);
    const status = /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1];
    if (status === "500") {
      tally.internal += 1;
      tally.samples.push(`${preview(said.toString("latin1"))}: ${answer.slice(0, 300)}`);
    } else if (status === "200") tally.accepted += 1;
    else {
      const what = status === undefined ? "closed" : `HTTP ${status}`;
      tally.refused[what] = (tally.refused[what] ?? 0) + 1;
    }
  }

  private async answers(): Promise<boolean> {
    const { where, cookie } = this.bench;
    const asked = { method: "GET", url: `${where.page}/api/sweeps`, headers: { cookie }, body: null };
    return (await ask(asked)).status === 200;
  }
}

/** Node's own parser, below every route, refuses with plain words; so does a page that is not built. */
const isPlain = (status: number, body: string): boolean => body === "" || status === 400 || status === 431;

function speak(port: number, said: Buffer): Promise<string> {
  return new Promise((resolve) => {
    let heard = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(said));
    const timer = setTimeout(() => socket.destroy(), 15); // one that waits for the rest of a request
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      if (heard.includes("\r\n\r\n")) socket.destroy();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(heard);
    });
  });
}

export const open = (): Promise<Session> => Requests.open();
