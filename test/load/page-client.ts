import { setTimeout as sleep } from "node:timers/promises";
import { startBora, type MeasuredProcess, type MeasureOptions } from "./measured-process.js";

const readLink = (line: string): string => (JSON.parse(line) as { link: string }).link;

/** What a browser asks of `bora serve`, without the browser. */
export class PageClient {
  private constructor(
    readonly serving: MeasuredProcess,
    private readonly origin: string,
    private readonly cookie: string,
  ) {}

  /** Starts `bora serve` on a folder and logs in. */
  static async open(out: string, options: MeasureOptions): Promise<PageClient> {
    const serving = startBora(["serve", "--out", out, "--json"], options);
    const link = new URL(await serving.line(readLink));
    const token = link.hash.replace("#login=", "");
    const answer = await fetch(new URL("/api/login", link), {
      ...{ method: "POST", body: JSON.stringify({ token }) },
      headers: { "content-type": "application/json", origin: link.origin },
    });
    const [cookie = ""] = (answer.headers.get("set-cookie") ?? "").split(";");
    if (!answer.ok) throw new Error(`the login was refused: ${answer.status} ${await answer.text()}`);
    return new PageClient(serving, link.origin, cookie);
  }

  /** Milliseconds until the whole answer was there. */
  async ask(path: string): Promise<number> {
    const began = performance.now();
    const answer = await this.get(path);
    await answer.arrayBuffer();
    return performance.now() - began;
  }

  /** Keeps a sweep's stream of events open and reads it, as an open page does, until the signal aborts. */
  async follow(sweepId: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const answer = await this.get(`/api/sweeps/${sweepId}/stream`, signal).catch(() => null);
      if (answer?.body == null) continue;
      try {
        for await (const _ of answer.body) if (signal.aborted) return;
      } catch {
        // a reader that was too slow is let go, and comes back
      }
      await sleep(100, undefined, { signal }).catch(() => undefined);
    }
  }

  private async get(path: string, signal?: AbortSignal): Promise<Response> {
    const answer = await fetch(new URL(path, this.origin), {
      headers: { cookie: this.cookie },
      ...(signal !== undefined && { signal }),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  async end(): Promise<void> {
    await this.serving.end("SIGINT");
  }
}
