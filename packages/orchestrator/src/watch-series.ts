import { BoraError } from "@bora/contracts";
import type { Lab, SeriesOptions, SweepHandle } from "@bora/sdk";
import { reportError } from "./errors.js";
import { exitLine, type ExitName } from "./exit-codes.js";
import { listenForInterrupts } from "./interrupt.js";
import { openReporter, type Reporter } from "./progress/reporter.js";
import type { Terminal } from "./terminal.js";
import { closeAll } from "./watch.js";

const resumeHint = "from which the same command goes on";

/** Shows one sweep after the other, each as `bora sweep` shows it. */
class Shown {
  private reporter: Promise<Reporter>;
  private done: Promise<void> = Promise.resolve();
  handle: SweepHandle | null = null;

  constructor(
    private readonly terminal: Terminal,
    private readonly json: boolean,
  ) {
    this.reporter = openReporter(terminal, json);
  }

  readonly tell = (act: (reporter: Reporter) => void): void => {
    void this.reporter.then(act);
  };

  readonly sweep = (handle: SweepHandle, words: string): void => {
    this.handle = handle;
    this.done = this.done.then(() => this.show(handle, words));
    this.done.catch(() => undefined); // whoever waits for the end gets it
  };

  private async show(handle: SweepHandle, words: string): Promise<void> {
    if (handle.at === "ended") return this.tell((reporter) => reporter.stage(`${words}: finished before`));
    await (await this.reporter).end();
    this.reporter = openReporter(this.terminal, this.json);
    const reporter = await this.reporter;
    if (!this.json) this.terminal.out(`\n${words} (sweep ${handle.sweepId})`);
    if (handle.at === "elsewhere") reporter.stage(`another process runs ${handle.sweepId}: following it`);
    for await (const event of handle.events()) reporter.event(event);
  }

  async end(): Promise<void> {
    await this.done.catch(() => undefined); // the work itself tells what went wrong
    await (await this.reporter).end();
  }
}

/** Does work that takes several sweeps, serves them to other processes meanwhile, shows them, and says how to exit. */
export async function watchSeries<Outcome>(
  lab: Lab,
  { dir, json }: { dir: string; json: boolean },
  terminal: Terminal,
  work: (options: SeriesOptions) => Promise<Outcome>,
  show: (outcome: Outcome) => void,
): Promise<ExitName> {
  const shown = new Shown(terminal, json);
  const stopping = new AbortController();
  using _signals = listenForInterrupts({
    onFirst: () => {
      shown.tell((reporter) => reporter.stage(`stopping at a checkpoint, ${resumeHint}; Ctrl-C again leaves at once`));
      stopping.abort(
        new BoraError("interrupted", "stopped while planning", { hint: `nothing is lost, ${resumeHint}` }),
      );
    },
    onSecond: () => shown.handle?.abandon(),
  });
  let server: AsyncDisposable | null = null;
  let exit: ExitName = "done";
  try {
    const outcome = await work({
      signal: stopping.signal,
      onStage: (text) => shown.tell((reporter) => reporter.stage(text)),
      onNotice: (notice) => shown.tell((reporter) => reporter.notice(notice)),
      onController: async () => {
        const { serveController } = await import("@bora/dashboard");
        server ??= await serveController(lab, { dir });
      },
      onSweep: shown.sweep,
    });
    await shown.end();
    show(outcome);
  } catch (error) {
    await shown.end();
    exit = reportError(error, terminal, json);
  } finally {
    await closeAll(server, lab);
  }
  if (!json) terminal.out(exitLine(exit));
  return exit;
}
