import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { startProgram, type MeasuredProcess } from "./measured-process.js";

export interface FakeTrainersOptions {
  count: number;
  events: number; // of each run, while it trains
  eventsPerSecond: number; // of each trainer
  artifactBytes?: number;
}

/** What a run has told, as its trainer counted it. */
const Told = z.object({ runId: z.string(), events: z.number(), sha256: z.string(), seconds: z.number() });
export type Told = z.infer<typeof Told>;

const reading =
  <T extends z.ZodType>(field: string, schema: T) =>
  (line: string): z.output<T> | null => {
    const found = z.object({ [field]: schema }).safeParse(JSON.parse(line));
    return found.success ? (found.data[field] as z.output<T>) : null;
  };

/** Trainers in processes of their own, and the file that names them to an orchestrator. */
export class FakeTrainers {
  readonly holding: Promise<unknown>; // until each holds a run
  readonly told: Promise<Told[]>; // until each has told its run to the end

  private constructor(
    readonly file: string,
    private readonly processes: readonly MeasuredProcess[],
  ) {
    this.holding = Promise.all(processes.map((one) => one.line(reading("holds", z.string()))));
    this.told = Promise.all(processes.map((one) => one.line(reading("told", Told))));
    this.holding.catch(() => undefined); // whoever waits for it is told
    this.told.catch(() => undefined);
  }

  static async start(folder: string, { count, ...options }: FakeTrainersOptions): Promise<FakeTrainers> {
    const token = randomBytes(16).toString("hex");
    const asked = JSON.stringify({ token, ...options });
    const program = new URL("fake-trainer.ts", import.meta.url);
    const processes = Array.from({ length: count }, () =>
      startProgram(program, [asked], { log: join(folder, "trainers.log") }),
    );
    const addresses = await Promise.all(processes.map((one) => one.line(reading("address", z.string()))));
    writeFileSync(join(folder, "token"), `${token}\n`, { mode: 0o600 });
    const file = join(folder, "trainers.yaml");
    writeFileSync(file, JSON.stringify({ trainers: addresses.map((address) => ({ address })), tokenFile: "token" }));
    return new FakeTrainers(file, processes);
  }

  /** Runs begin to be told, all together. */
  begin(): void {
    for (const one of this.processes) one.tell("begin");
  }

  get cpuSeconds(): number {
    return this.processes.reduce((sum, one) => sum + one.cpuSeconds, 0);
  }

  async end(): Promise<void> {
    await Promise.all(this.processes.map((one) => one.end("SIGTERM")));
  }
}
