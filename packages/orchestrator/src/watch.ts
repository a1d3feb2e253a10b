import { BoraError } from "@bora/contracts";
import type { Lab, SweepHandle, SweepOptions, SweepOutcome } from "@bora/sdk";
import { reportError } from "./errors.js";
import { exitLine, exitOfOutcome, type ExitName } from "./exit-codes.js";
import { listenForInterrupts } from "./interrupt.js";
import { openReporter, type Reporter } from "./progress/reporter.js";
import { showOutcome } from "./summary.js";
import type { Terminal } from "./terminal.js";

export interface WatchOptions {
  dir: string;
  json: boolean;
  wanted?: SweepOutcome["outcome"]; // what the command was for, when that is not "done"
}

const resumeHint = "from which the same command goes on";

/** What Ctrl-C does, before and after there is a sweep to speak to. */
class Stopping {
  readonly planning = new AbortController();
  private handle: SweepHandle | null = null;
  private asked = false;

  constructor(private readonly say: (text: string) => void) {}

  watch(handle: SweepHandle): void {
    this.handle = handle;
    if (this.asked) this.drain(handle);
  }

  first(): void {
    this.asked = true;
    if (this.handle === null) {
      this.say("stopping");
      this.planning.abort(new BoraError("interrupted", "stopped while planning", { hint: "nothing was trained yet" }));
    } else this.drain(this.handle);
  }

  second(): void {
    this.say(`leaving now; the trainer goes on until its lease runs out, then writes a checkpoint, ${resumeHint}`);
    this.handle?.abandon();
  }

  private drain(handle: SweepHandle): void {
    if (handle.at === "elsewhere") {
      this.say(`no longer following; the sweep goes on in its own process (bora drain ${handle.sweepId} stops it)`);
      handle.abandon();
      return;
    }
    this.say(`stopping at a checkpoint, ${resumeHint}; Ctrl-C again leaves at once`);
    handle.send({ verb: "drain" }).catch(() => undefined); // it has ended meanwhile
  }
}

const history = 2_000; // training windows of what was stored before: enough to show where the sweep stands

async function show(handle: SweepHandle, reporter: Reporter): Promise<void> {
  for await (const event of handle.events(0, { aboutAtMost: history })) reporter.event(event);
}

/** Closes while signals are still heard: one that came after would leave trainers to their leases. */
export async function closeAll(server: AsyncDisposable | null, lab: Lab): Promise<void> {
  await server?.[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
}

/** Starts a sweep by `start`, serves it to other processes while it runs here, shows it, and says how to exit. */
export async function watch(
  lab: Lab,
  { dir, json, wanted }: WatchOptions,
  terminal: Terminal,
  start: (options: SweepOptions) => Promise<SweepHandle>,
): Promise<ExitName> {
  const reporter = await openReporter(terminal, json);
  const stopping = new Stopping(reporter.stage);
  using _signals = listenForInterrupts({
    onFirst: () => {
      stopping.first();
    },
    onSecond: () => {
      stopping.second();
    },
  });
  let server: AsyncDisposable | null = null;
  const onController = async () => {
    const { serveController } = await import("@bora/dashboard");
    server ??= await serveController(lab, { dir });
  };
  const { stage: onStage, notice: onNotice } = reporter;
  let exit: ExitName;
  try {
    const handle = await start({ signal: stopping.planning.signal, onStage, onNotice, onController });
    stopping.watch(handle);
    if (handle.at === "elsewhere") reporter.stage(`another process runs ${handle.sweepId}: following it`);
    if (handle.at !== "ended") await show(handle, reporter);
    const outcome = await handle.outcome();
    await reporter.end();
    exit = outcome.outcome === wanted ? "done" : exitOfOutcome(outcome);
    showOutcome(outcome, terminal, json ? exit : null);
  } catch (error) {
    await reporter.end();
    exit = reportError(error, terminal, json);
  } finally {
    await closeAll(server, lab);
  }
  if (!json) terminal.out(exitLine(exit));
  return exit;
}
