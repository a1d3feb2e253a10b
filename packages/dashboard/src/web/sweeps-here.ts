import type { ExperimentInput, Lab, SeriesOptions, SweepCommand, SweepHandle, SweepOptions } from "@bora/sdk";

/** How this process becomes a folder's controller for one sweep. */
export interface HereParts {
  openLab(): Promise<Lab>;
  /** Lets other processes speak to the controller that this lab has become. */
  serve(lab: Lab): Promise<AsyncDisposable>;
}

/** What goes on here, and how it is told to stop. */
interface Running {
  drain(): void;
  abandon(): void;
  ended: Promise<unknown>;
}

interface Opened {
  lab: Lab;
  onController(): Promise<void>;
  close(): Promise<void>;
}

/** Sweeps that go on in this process because nobody else was at work on them. Each has a lab of its own, so that the
 * store is free again when it has ended. */
export class SweepsHere {
  private readonly running = new Set<Running>();

  constructor(private readonly parts: HereParts) {}

  get busy(): boolean {
    return this.running.size > 0;
  }

  /** Hands the command to the sweep's controller, or becomes it. Throws what the lab throws. */
  async send(sweepId: string, command: SweepCommand): Promise<void> {
    await this.begin((lab, options) => lab.continue(sweepId, command, options));
  }

  /** Has the controller start or join the experiment's sweep, or becomes it; resolves with the sweep's id. */
  async sweep(spec: ExperimentInput): Promise<string> {
    return (await this.begin((lab, options) => lab.sweep(spec, options))).sweepId;
  }

  /** Work of several sweeps, each of which makes this process the controller where nobody else is. */
  async work<T>(
    action: (lab: Lab, options: SeriesOptions) => Promise<T>,
    { signal, onSweep, ...options }: SeriesOptions = {},
  ): Promise<T> {
    const stop = new AbortController();
    let current: SweepHandle | null = null;
    const { lab, onController, close } = await this.open();
    const doing = action(lab, {
      ...{
        ...options,
        onController,
        signal: AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]),
      },
      onSweep: (handle, words) => {
        current = handle;
        onSweep?.(handle, words);
      },
    });
    const drain = () => {
      stop.abort();
    };
    const abandon = () => {
      current?.abandon();
      stop.abort();
    };
    await this.keep({ drain, abandon, ended: doing }, close);
    return doing;
  }

  /** Has what runs here write a checkpoint and end, and waits for it. */
  async drain(): Promise<void> {
    const all = [...this.running];
    for (const { drain } of all) drain();
    await Promise.all(all.map(({ ended }) => ended));
  }

  /** Leaves at once; trainers go on until their leases run out, and whoever resumes adopts them. */
  async abandon(): Promise<void> {
    const all = [...this.running];
    for (const { abandon } of all) abandon();
    await Promise.all(all.map(({ ended }) => ended));
  }

  private async open(): Promise<Opened> {
    const lab = await this.parts.openLab();
    let server: AsyncDisposable | null = null;
    return {
      lab,
      onController: async () => {
        server ??= await this.parts.serve(lab);
      },
      close: async () => {
        await server?.[Symbol.asyncDispose]();
        await lab[Symbol.asyncDispose]();
      },
    };
  }

  private async begin(action: (lab: Lab, options: SweepOptions) => Promise<SweepHandle>): Promise<SweepHandle> {
    const { lab, onController, close } = await this.open();
    try {
      const handle = await action(lab, { onController });
      if (handle.at !== "here") await close();
      else void this.keepSweep(handle, close);
      return handle;
    } catch (error) {
      await close();
      throw error;
    }
  }

  private keepSweep(handle: SweepHandle, close: Opened["close"]): Promise<void> {
    const drain = () => {
      handle.send({ verb: "drain" }).catch(() => undefined); // it has ended meanwhile
    };
    const abandon = () => {
      handle.abandon();
    };
    return this.keep({ drain, abandon, ended: handle.outcome() }, close);
  }

  /** Resolves when it has ended and its lab is closed; why it ended is in the log, or told to who asked. */
  private async keep({ ended, ...how }: Running, close: Opened["close"]): Promise<void> {
    const closed = ended.then(close, close).catch(() => undefined);
    const running = { ...how, ended: closed };
    this.running.add(running);
    await closed;
    this.running.delete(running);
  }
}
