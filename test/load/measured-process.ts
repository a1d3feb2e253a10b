import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, createWriteStream, openSync, readFileSync } from "node:fs";
import { finished } from "node:stream/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const bora = fileURLToPath(new URL("../../packages/orchestrator/bin/bora.js", import.meta.url));
const mebibyte = 2 ** 20;
const ticksPerSecond = 100; // USER_HZ, the same on every Linux

export interface MeasureOptions {
  env?: NodeJS.ProcessEnv;
  log: string; // what it prints
  quiet?: boolean; // it prints into the log by itself, and nobody reads along
  everyMs?: number; // between two looks at its memory
}

/** A process whose memory is looked at while it lives. */
export class MeasuredProcess {
  readonly residentMiB: number[] = [];
  readonly ended: Promise<number | null>;
  peakMiB = 0; // the kernel's high-water mark
  cpuSeconds = 0;
  private readonly timer: NodeJS.Timeout;
  private readonly listeners = new Set<(line: string) => void>();

  constructor(
    private readonly child: ChildProcess,
    { log, everyMs = 1_000 }: MeasureOptions,
  ) {
    const file = createWriteStream(log, { flags: "a" });
    child.stderr?.pipe(file, { end: false });
    if (child.stdout !== null)
      createInterface(child.stdout).on("line", (line) => {
        file.write(`${line}\n`);
        for (const listen of this.listeners) listen(line);
      });
    this.timer = setInterval(() => {
      this.look();
    }, everyMs);
    this.ended = new Promise((resolve) =>
      child.once("close", (code) => {
        clearInterval(this.timer);
        file.end();
        void finished(file).then(() => {
          resolve(code);
        });
      }),
    );
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** What the next line is of which `read` makes something. Rejects when the process ends before. */
  line<T>(read: (line: string) => T | null): Promise<T> {
    return new Promise((resolve, reject) => {
      const listen = (line: string) => {
        const found = read(line);
        if (found === null) return;
        this.listeners.delete(listen);
        resolve(found);
      };
      this.listeners.add(listen);
      void this.ended.then((code) => {
        reject(new Error(`${this.child.spawnargs.slice(1, 4).join(" ")} ended with ${String(code)} before it said so`));
      });
    });
  }

  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Has it end, and waits. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.child.kill(signal);
    return this.ended;
  }

  look(): void {
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
      const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? NaN);
      const resident = (kibibytes("VmRSS") * 1024) / mebibyte;
      if (!Number.isFinite(resident)) return; // it is ending
      this.residentMiB.push(resident);
      this.peakMiB = (kibibytes("VmHWM") * 1024) / mebibyte;
      const [, rest = ""] = readFileSync(`/proc/${this.pid}/stat`, "utf8").split(") ");
      const fields = rest.split(" ");
      this.cpuSeconds = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
    } catch {
      // it has ended
    }
  }
}

/** BORA_LOAD_PROFILE names a folder: every `bora` leaves a profile of its processor time there. */
function profiling(): string[] {
  const folder = process.env["BORA_LOAD_PROFILE"] ?? "";
  return folder === "" ? [] : ["--cpu-prof", `--cpu-prof-dir=${folder}`];
}

/** `bora` with arguments, as a person starts it. */
export function startBora(args: readonly string[], options: MeasureOptions): MeasuredProcess {
  const env = { ...process.env, ...options.env };
  const file = options.quiet === true ? openSync(options.log, "a") : null;
  const to = file ?? "pipe";
  const child = spawn("node", [...profiling(), bora, ...args], { stdio: ["ignore", to, to], env });
  if (file !== null) closeSync(file);
  return new MeasuredProcess(child, options);
}

/** A TypeScript program of this suite. */
export function startProgram(file: URL, args: readonly string[], options: MeasureOptions): MeasuredProcess {
  const command = ["--import", "tsx", fileURLToPath(file), ...args];
  return new MeasuredProcess(spawn("node", command, { cwd: root, stdio: ["pipe", "pipe", "pipe"] }), options);
}
