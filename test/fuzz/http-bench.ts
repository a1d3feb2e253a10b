import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const Where = z.object({
  ...{ sweepId: z.string(), page: z.string(), link: z.string() },
  ...{ controller: z.string(), token: z.string(), residentMiB: z.number() },
});

export interface Asking {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | Buffer | null;
}

/** What came of a request: its answer, or why there was none. */
export type Answer = { status: number; body: string; cookie: string } | { status: null; why: "closed" | "silent" };

const silentMs = 15_000;
const enough = 64 * 1024; // bytes of an answer that are read: a stream of events has no end

export function ask({ method, url, headers, body }: Asking): Promise<Answer> {
  return new Promise((resolve) => {
    let sent;
    try {
      sent = request(url, { method, headers, timeout: silentMs });
    } catch {
      resolve({ status: null, why: "closed" }); // Node itself does not send such a thing
      return;
    }
    sent.on("timeout", () => {
      resolve({ status: null, why: "silent" });
      sent.destroy();
    });
    sent.on("error", () => resolve({ status: null, why: "closed" }));
    sent.on("response", (response) => {
      let text = "";
      const done = () => {
        const cookie = response.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
        resolve({ status: response.statusCode ?? 0, body: text, cookie });
      };
      const endless = response.headers["content-type"]?.startsWith("text/event-stream") === true;
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (endless || text.length > enough) {
          done();
          sent.destroy();
        }
      });
      response.on("end", done);
      response.on("error", done);
    });
    sent.end(body ?? undefined);
  });
}

/** Both servers in a process of their own, and what a caller needs to be let in. */
export class HttpBench implements AsyncDisposable {
  where!: z.infer<typeof Where>;
  cookie = "";
  csrf = "";

  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: Interface,
  ) {}

  static async open(): Promise<HttpBench> {
    const script = fileURLToPath(new URL("http-server.ts", import.meta.url));
    const child = spawn(process.execPath, ["--expose-gc", "--import", "tsx", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (child.stdout === null) throw new Error("a server without pipes");
    const bench = new HttpBench(child, createInterface({ input: child.stdout }));
    await bench.hear();
    await bench.login();
    return bench;
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Another session, for the one before may have been ended by a request that happened to be right. */
  async again(): Promise<void> {
    this.child.stdin?.write("\n");
    await this.hear();
    await this.login();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.child, "exit");
    this.child.stdin?.end();
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 10_000);
    if (this.alive) await ended;
    clearTimeout(timer);
  }

  private async hear(): Promise<void> {
    const [line] = (await once(this.lines, "line")) as [string];
    this.where = Where.parse(JSON.parse(line));
  }

  private async login(): Promise<void> {
    const { page, link } = this.where;
    const token = link.split("#login=")[1] ?? "";
    const headers = { origin: page, "content-type": "application/json" };
    const body = JSON.stringify({ token });
    const answer = await ask({ method: "POST", url: `${page}/api/login`, headers, body });
    if (answer.status !== 200) throw new Error(`the login was answered with ${JSON.stringify(answer)}`);
    this.cookie = answer.cookie;
    const session = await ask({
      method: "GET",
      url: `${page}/api/session`,
      headers: { cookie: this.cookie },
      body: null,
    });
    if (session.status !== 200) throw new Error("there is no session");
    this.csrf = z.object({ csrf: z.string() }).parse(JSON.parse(session.body)).csrf;
  }
}
