import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { request as requestOverTls } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { BoraError } from "@bora/contracts";
import type { SweepCommand } from "@bora/sdk";
import { MemoryLog, whole } from "./events.fixture.js";
import { csrfHeader } from "./page-api.js";
import { servePage, type PageParts, type PageServer } from "./page-server.js";

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

interface Asking {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  ca?: string; // over TLS
}

/** A request with any headers, which fetch would not send. */
export function askAt(url: string, path: string, asking: Asking = {}): Promise<Answer> {
  const { method = "GET", headers = {}, body, ca } = asking;
  const over = ca === undefined ? request : requestOverTls;
  return new Promise((resolve, reject) => {
    const sent = over(
      new URL(path, url),
      { method, headers, ...(ca !== undefined && { ca, servername: "localhost" }), agent: false },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("error", reject);
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
        });
      },
    ).on("error", reject);
    sent.end(body);
  });
}

/** A page over twins in memory, and a browser that is logged in or not. */
export class PageBench implements AsyncDisposable {
  readonly log = new MemoryLog(whole);
  readonly sent: { sweepId: string; command: SweepCommand }[] = [];
  readonly live = new Set<string>();
  nowMs = 1_000_000;
  server!: PageServer;
  dir = "";
  /** Of the page's certificate, when it is asked over TLS. */
  ca: string | undefined;
  private cookie = "";
  private csrf = "";

  async open(changes: Partial<PageParts> = {}): Promise<this> {
    this.dir = await mkdtemp(join(tmpdir(), "bora-page-"));
    const builtPage = join(this.dir, "built");
    await mkdir(join(builtPage, "assets"), { recursive: true });
    await writeFile(join(builtPage, "index.html"), "<!doctype html><title>the page</title>");
    await writeFile(join(builtPage, "assets", "a.js"), "export {};");
    const nothing = () => Promise.reject(new BoraError("sweep_unknown", "no results", { hint: "" }));
    this.server = await servePage({
      ...{ dir: this.dir, log: this.log, lab: { results: nothing }, builtPage, pollMs: 5 },
      live: () => Promise.resolve(this.live),
      lookAtTrainers: () => Promise.resolve([]),
      perplexityOf: () => Promise.resolve(null),
      differencesOf: () => Promise.resolve(null),
      send: (sweepId, command) => {
        this.sent.push({ sweepId, command });
        return Promise.resolve();
      },
      generate: () => Readable.from([]),
      now: () => this.nowMs,
      ...changes,
    });
    return this;
  }

  /** Closes it and opens it over another log and other parts, logged in. */
  async again(bodies: ConstructorParameters<typeof MemoryLog>[0], changes: Partial<PageParts> = {}): Promise<this> {
    await this[Symbol.asyncDispose]();
    this.log.stored.splice(0, Infinity, ...new MemoryLog(bodies).stored);
    return (await this.open(changes)).loggedIn();
  }

  get origin(): string {
    return this.server.url;
  }

  ask(path: string, asking: Asking = {}): Promise<Answer> {
    return askAt(this.server.url, path, this.ca === undefined ? asking : { ca: this.ca, ...asking });
  }

  /** As the page's own script asks once it is logged in. */
  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask(path, { headers: { cookie: this.cookie, ...headers } });
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const own = { cookie: this.cookie, origin: this.origin, [csrfHeader]: this.csrf };
    const all = Object.entries({ ...own, "content-type": "application/json", ...headers });
    const kept = Object.fromEntries(all.filter(([, value]) => value !== ""));
    return this.ask(path, { method: "POST", headers: kept, body: JSON.stringify(body) });
  }

  login(token = this.server.newLink().split("#login=")[1] ?? ""): Promise<Answer> {
    return this.ask("/api/login", {
      method: "POST",
      headers: { origin: this.origin, "content-type": "application/json" },
      body: JSON.stringify({ token }),
    });
  }

  async loggedIn(): Promise<this> {
    const { headers } = await this.login();
    this.cookie = String(headers["set-cookie"]).split(";")[0] ?? "";
    const { csrf } = JSON.parse((await this.get("/api/session")).body) as { csrf: string };
    this.csrf = csrf;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await rm(this.dir, { recursive: true });
  }
}
