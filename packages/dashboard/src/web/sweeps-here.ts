import type { ExperimentInput, Lab, SweepCommand, SweepHandle, SweepOptions } from "@bora/sdk";

/** How this process becomes a folder's controller for one sweep. */
export interface HereParts {
  openLab(): Promise<Lab>;
  /** Lets other processes speak to the controller that this lab has become. */
  serve(lab: Lab): Promise<AsyncDisposable>;
}

/** Sweeps that go on in this process because nobody else was at work on them. Each has a lab of its own, so that the
 * store is free again when it has ended. */
export class SweepsHere {
  private readonly running = new Map<SweepHandle, Promise<void>>();

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

  /** Has what runs here write a checkpoint and end, and waits for it. */
  async drain(): Promise<void> {
    for (const handle of this.running.keys()) await handle.send({ verb: "drain" }).catch(() => undefined);
    await Promise.all(this.running.values());
  }

  /** Leaves at once; trainers go on until their leases run out, and whoever resumes adopts them. */
  async abandon(): Promise<void> {
    for (const handle of this.running.keys()) handle.abandon();
    await Promise.all(this.running.values());
  }

  private async begin(action: (lab: Lab, options: SweepOptions) => Promise<SweepHandle>): Promise<SweepHandle> {
    const lab = await this.parts.openLab();
    let server: AsyncDisposable | null = null;
    const close = async () => {
      await server?.[Symbol.asyncDispose]();
      await lab[Symbol.asyncDispose]();
    };
    const onController = async () => {
      server ??= await this.parts.serve(lab);
    };
    try {
      const handle = await action(lab, { onController });
      if (handle.at !== "here") await close();
      else this.keep(handle, close);
      return handle;
    } catch (error) {
      await close();
      throw error;
    }
  }

  private keep(handle: SweepHandle, close: () => Promise<void>): void {
    const ended = handle
      .outcome()
      .then(close, close) // its reason is in the log
      .finally(() => this.running.delete(handle));
    this.running.set(
      handle,
      ended.catch(() => undefined),
    );
  }
}
