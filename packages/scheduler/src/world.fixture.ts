import { contentHash, type BoraError } from "@bora/contracts";
import type { Placement, Placer } from "@bora/placement";
import { memoryStore, MemoryStorage, type NewEvent, type Store } from "@bora/store";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock } from "./fake-clock.fixture.js";
import type { SweepDeps } from "./loop.js";
import { RunFolder, type SimulationScript } from "./simulated-run.fixture.js";
import { refuse, SimulatedProcess, SimulatedTrainer } from "./simulated-trainer.fixture.js";

const forever = <T = undefined>(): Promise<T> => new Promise<T>(() => undefined);

/** One controller's life: after `crash` none of its calls comes back, as after kill -9. */
export interface Controller {
  deps: SweepDeps;
  crash(): void;
  stored: number; // events, so far, by this controller
}

export interface ControllerOptions {
  /** Crashes as soon as it has stored this many events. */
  crashAfter?: number;
  /** Refuses to write while it returns an error. */
  storeFault?: (events: readonly NewEvent[]) => BoraError | null;
  placeFault?: () => BoraError | null;
  connectFault?: () => BoraError | null;
  maxTrainers?: number;
  /** Trainers run there alone, as in a trainers file; otherwise each has an address of its own. */
  addresses?: readonly string[];
}

/** A machine on which controllers and trainers live, crash and come back; time and disk go on. */
export class World {
  readonly clock = new FakeClock();
  readonly storage = new MemoryStorage();
  readonly processes: SimulatedProcess[] = [];
  readonly folders = new Map<string, RunFolder>();
  readonly addressOf = new Map<SimulatedProcess, string>();
  readonly out = mkdtempSync(join(tmpdir(), "bora-sweep-"));
  mostAtOnce = 0;
  private runs = 0;

  constructor(public script: SimulationScript) {}

  [Symbol.dispose](): void {
    rmSync(this.out, { recursive: true });
  }

  folder(runId: string): RunFolder {
    const folder = this.folders.get(runId) ?? new RunFolder(runId);
    this.folders.set(runId, folder);
    return folder;
  }

  get living(): SimulatedProcess[] {
    return this.processes.filter(({ alive }) => alive);
  }

  /** Attempts that any trainer began, in order. */
  get starts() {
    return [...this.folders.values()].flatMap(({ starts, runId }) => starts.map((start) => ({ runId, ...start })));
  }

  controller(options: ControllerOptions = {}): Controller {
    this.storage.holder = null; // the kernel frees the lock of a process that is gone
    const life = { alive: true };
    const controller: Controller = {
      crash: () => (life.alive = false),
      stored: 0,
      deps: {
        store: this.store(life, options, () => controller),
        placer: this.placer(life, options),
        connectTrainer: ({ address }) => this.connect(life, address, options),
        clock: {
          wallMs: () => this.clock.wallMs(),
          monotonicMs: () => this.clock.monotonicMs(),
          sleep: (ms, signal) => this.clock.sleep(ms, signal).then(() => (life.alive ? undefined : forever())),
        },
        out: this.out,
        newRunId: () => `00000000-0000-4000-8000-${String((this.runs += 1)).padStart(12, "0")}`,
        maxTrainers: options.maxTrainers ?? 1,
      },
    };
    return controller;
  }

  private store(life: { alive: boolean }, options: ControllerOptions, of: () => Controller): Store {
    const store = memoryStore(this.storage, () => this.clock.wallMs());
    const append = async (events: readonly NewEvent[]) => {
      if (!life.alive) return forever<never>();
      const fault = options.storeFault?.(events);
      if (fault) throw fault;
      const left = (options.crashAfter ?? Infinity) - of().stored;
      const stored = await store.append(events.slice(0, left));
      of().stored += stored.length;
      if (of().stored < (options.crashAfter ?? Infinity)) return stored;
      of().crash();
      return forever<never>();
    };
    return new Proxy(store, {
      get: (target, name) => {
        if (name === "append") return append;
        const member: unknown = Reflect.get(target, name);
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
  }

  private placer(life: { alive: boolean }, { placeFault, addresses }: ControllerOptions): Placer {
    const guard = <T>(answer: () => T): Promise<T> => (life.alive ? Promise.resolve().then(answer) : forever<T>());
    return {
      place: ({ trainerId, leaseMs, avoid = [] }) =>
        guard(() => {
          const fault = placeFault?.();
          if (fault) throw fault;
          const known = this.living.find((one) => one.trainerId === trainerId);
          const used = this.living.map((one) => this.addressOf.get(one));
          const address = addresses?.find((one) => !avoid.includes(one) && !used.includes(one));
          if (known === undefined && addresses !== undefined && address === undefined) throw refuse("busy");
          return this.ready(known ?? this.spawn(trainerId, leaseMs, address));
        }),
      list: () =>
        guard(() =>
          this.processes.map((one): Placement =>
            one.alive ? this.ready(one) : { at: "gone", trainerId: one.trainerId, reason: "it has ended" },
          ),
        ),
      release: (trainerId) =>
        guard(() => this.living.filter((one) => one.trainerId === trainerId).forEach((one) => one.terminate())),
    };
  }

  private spawn(trainerId: string, leaseMs: number, address: string | undefined): SimulatedProcess {
    const instanceId = `instance-${this.processes.length + 1}`;
    const process = new SimulatedProcess(
      trainerId,
      instanceId,
      this.clock,
      this.script,
      (id) => this.folder(id),
      leaseMs,
    );
    this.processes.push(process);
    this.addressOf.set(process, address ?? instanceId);
    this.mostAtOnce = Math.max(this.mostAtOnce, this.living.length);
    return process;
  }

  private ready(process: SimulatedProcess): Placement & { at: "ready" } {
    const { trainerId, instanceId } = process;
    const address = this.addressOf.get(process) ?? instanceId;
    return { at: "ready", trainerId, instanceId, address, token: "t", node: "here", devices: ["cpu"] };
  }

  private connect(
    life: { alive: boolean },
    address: string,
    { connectFault }: ControllerOptions,
  ): Promise<SimulatedTrainer> {
    const process = this.processes.findLast((one) => this.addressOf.get(one) === address);
    if (!life.alive) return forever();
    const fault = connectFault?.();
    if (fault) return Promise.reject(fault);
    if (!process?.alive || process.unreachable || process.frozen) return Promise.reject(refuse("trainer_lost"));
    const trainer = new SimulatedTrainer(process, () => (life.alive ? Promise.resolve() : forever()));
    return Promise.resolve(trainer);
  }
}

/** Where trials end, from their ids alone, so that every machine agrees. */
export const anyTrial = (trialId: string) => ({
  doneAt: 4 + 2 * (Number.parseInt(contentHash(trialId).slice(0, 4), 16) % 3),
});
