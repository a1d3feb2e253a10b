import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { emptyTally, Tally } from "./tally.js";

const lastWords = 2_000; // characters of stderr that are kept

/** A process that reads `{seed, count}` a line and answers each with a tally. What it reads cannot harm the driver. */
export class WorkerProcess {
  private readonly child: ChildProcess;
  private readonly lines: Interface;
  private words = "";

  constructor(command: string, args: readonly string[], cwd: string, environment: NodeJS.ProcessEnv) {
    this.child = spawn(command, args, { cwd, env: environment, stdio: ["pipe", "pipe", "pipe"] });
    if (this.child.stdout === null || this.child.stderr === null) throw new Error("a worker without pipes");
    this.lines = createInterface({ input: this.child.stdout });
    this.child.stderr.on("data", (text: Buffer) => {
      this.words = `${this.words}${text.toString()}`.slice(-lastWords);
    });
    this.child.on("error", (error) => (this.words += error.message));
    this.child.stdin?.on("error", () => undefined); // it ended: its exit says so
  }

  /** A batch; a worker that ends, or is silent for `limitMs`, has crashed or hangs, and is ended. */
  async run(seed: number, count: number, limitMs: number): Promise<Tally> {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), limitMs);
    this.child.stdin?.write(`${JSON.stringify({ seed, count })}\n`);
    try {
      const ended = once(this.child, "exit", { signal: stop.signal }).then(() => null);
      const line = once(this.lines, "line", { signal: stop.signal }).then(([text]) => String(text));
      line.catch(() => undefined);
      ended.catch(() => undefined);
      const said = this.child.exitCode === null ? await Promise.race([line, ended]) : null;
      if (said !== null) return Tally.parse(JSON.parse(said));
      return { ...emptyTally(), inputs: count, crashes: 1, samples: [`the worker ended: ${this.words}`] };
    } catch (thrown) {
      const silent = stop.signal.aborted;
      const why = silent ? `no answer within ${limitMs} ms` : String(thrown);
      const fault = silent ? { hangs: 1 } : { crashes: 1 };
      this.child.kill("SIGKILL");
      return { ...emptyTally(), inputs: count, ...fault, samples: [`${why}; ${this.words}`] };
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }

  /** Closes its input, at which it ends by itself; it is killed when it does not. */
  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.stdin?.end();
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 20_000);
    await ended;
    clearTimeout(timer);
  }
}
