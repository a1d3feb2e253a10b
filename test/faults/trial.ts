import { spawn, type ChildProcess } from "node:child_process";
import { appendFileSync, cpSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { StoreLocation } from "@bora/store";
import { bora, environment, root, type Bench } from "./bench.js";
import { processesOf, signal } from "./processes.js";
import type { Random } from "./random.js";
import type { Weather } from "./weather.js";

const controllerScript = fileURLToPath(new URL("controller.ts", import.meta.url));
const tooLongMs = 240_000;

type Event = Readonly<Record<string, unknown>>;

/** One orchestrator process and what it says. */
export class Orchestrator {
  readonly ended: Promise<number | null>; // null: by a signal
  readonly events: Event[] = [];
  stderr = "";
  hasEnded = false;
  private readonly listeners = new Set<() => void>();

  constructor(readonly child: ChildProcess) {
    this.ended = new Promise((resolve) =>
      child.once("close", (code) => {
        this.hasEnded = true;
        this.tell();
        resolve(code);
      }),
    );
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    if (child.stdout !== null)
      createInterface(child.stdout).on("line", (line) => {
        this.hear(line);
      });
  }

  /** Resolves at the n-th event of a kind, or when the process has ended: true, or false. */
  async until(kind: string, times = 1): Promise<boolean> {
    const seen = () => this.events.filter((event) => event["kind"] === kind).length >= times;
    while (!seen() && !this.hasEnded)
      await new Promise<void>((resolve) => {
        this.listeners.add(resolve);
      });
    return seen();
  }

  kill(name: NodeJS.Signals): boolean {
    return !this.hasEnded && signal(this.child.pid ?? 0, name);
  }

  private hear(line: string): void {
    const { event } = JSON.parse(line) as { event?: Event };
    if (event !== undefined) this.events.push(event);
    this.tell();
  }

  private tell(): void {
    for (const wake of this.listeners) wake();
    this.listeners.clear();
  }
}

/** One sweep that is disturbed: a folder of its own, the experiment, and a source of chance. */
export class Trial {
  readonly log: string;
  private readonly started: Orchestrator[] = [];

  constructor(
    readonly bench: Bench,
    readonly out: string,
    readonly random: Random,
    readonly store: StoreLocation & { variable?: string } = { dir: out },
  ) {
    this.log = `${dirname(out)}.log`;
    mkdirSync(dirname(out), { recursive: true });
  }

  /** Puts the folder in place, as it is before the first start. */
  begin(): void {
    if ("dir" in this.store) cpSync(this.bench.template, this.out, { recursive: true });
    else mkdirSync(this.out, { recursive: true });
  }

  note(text: string): void {
    appendFileSync(this.log, `${new Date().toISOString()} ${text}\n`);
  }

  /** `bora sweep`, as a person starts it. */
  sweep(spec = this.bench.spec): Orchestrator {
    return this.bora("sweep", "--spec", spec, "--out", this.out, "--json");
  }

  bora(...args: string[]): Orchestrator {
    return this.start([bora, ...args]);
  }

  /** The same controller with another lease, or with bad weather between it and its trainers. */
  controller(options: { leaseMs?: number; weather?: Weather; seed?: number }): Orchestrator {
    const { spec } = this.bench;
    return this.start(["--import", "tsx", controllerScript, JSON.stringify({ spec, out: this.out, ...options })]);
  }

  async wait(ms: number): Promise<void> {
    await sleep(ms);
  }

  /** A moment of an undisturbed sweep's life. */
  moment(): number {
    return this.random.between(0, this.bench.lifeMs);
  }

  /** Waits for an end, a given time at most; a hang is a fault like any other. */
  async endOf(orchestrator: Orchestrator): Promise<number | null> {
    const timer = new AbortController();
    const late = sleep(tooLongMs, "late" as const, { signal: timer.signal }).catch(() => "late" as const);
    const code = await Promise.race([orchestrator.ended, late]);
    timer.abort();
    if (code === "late") throw new Error(`an orchestrator still runs after ${tooLongMs / 1000} s; see ${this.log}`);
    this.note(`ended with ${String(code)}\n${orchestrator.stderr}`);
    return code;
  }

  /** Brings the sweep to its end by the same command, and by `retry --lost` where it says that trials were lost. */
  async finish(): Promise<void> {
    for (let tries = 1; tries <= 6; tries += 1) {
      const code = await this.endOf(this.sweep());
      if (code === 0) return;
      if (code === 1 && (await this.endOf(this.bora("retry", "--lost", "--out", this.out, "--json"))) === 0) return;
    }
    throw new Error(`the sweep does not come to its end; see ${this.log}`);
  }

  /** SIGKILL to a random process among those named that live; what was hit, or null. */
  strike(...among: ("orchestrator" | "trainer" | "child")[]): string | null {
    const living = processesOf(this.out).filter(({ what }) => among.includes(what));
    if (living.length === 0) return null;
    const { pid, what } = this.random.pick(living);
    this.note(`kill -9 ${what} ${pid}`);
    return signal(pid, "SIGKILL") ? what : null;
  }

  /** SIGKILL to all of it at once, as when the power fails; how many were hit. */
  powerCut(): number {
    return this.signalAll("SIGKILL", "orchestrator", "trainer", "child");
  }

  /** The same signal to every process of some kinds; how many got it. */
  signalAll(name: NodeJS.Signals, ...among: ("orchestrator" | "trainer" | "child")[]): number {
    const living = processesOf(this.out).filter(({ what }) => among.includes(what));
    this.note(`${name} to ${living.map(({ what }) => what).join(", ")}`);
    return living.filter(({ pid }) => signal(pid, name)).length;
  }

  /** What a fault that threw has left running. */
  async clean(): Promise<void> {
    for (const orchestrator of this.started) {
      orchestrator.kill("SIGCONT");
      orchestrator.kill("SIGKILL");
    }
    for (const { pid } of processesOf(this.out)) signal(pid, "SIGKILL");
    await Promise.all(this.started.map(({ ended }) => ended));
  }

  private start(args: string[]): Orchestrator {
    const store = this.store.variable === undefined ? {} : { BORA_STORE: this.store.variable };
    this.note(`start ${args.slice(0, 3).join(" ")}`);
    const child = spawn("node", args, {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...environment, ...store },
    });
    const orchestrator = new Orchestrator(child);
    this.started.push(orchestrator);
    return orchestrator;
  }
}
