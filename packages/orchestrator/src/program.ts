import { Command, Option } from "commander";
import { exitCodes, type ExitName } from "./exit-codes.js";
import type { ExperimentOptions, OutOptions } from "./options.js";
import type { Terminal } from "./terminal.js";

const collect = (value: string, before: string[]): string[] => [...before, value];

const withOut = (command: Command): Command =>
  command
    .addOption(new Option("--out <folder>", "where the store and the results are").default("runs"))
    .addOption(new Option("--json", "JSON lines only on standard output"));

const withExperiment = (command: Command): Command =>
  withOut(
    command
      .option("--spec <file>", "experiment file (YAML or JSON); examples/shakespeare.yaml when left out")
      .option("--taus <list>", "prior precisions instead of the file's, for example 0,1e4,inf")
      .option(
        "--set <path=value>",
        "a value instead of the file's, for example train.maxSteps=20; may be repeated",
        collect,
        [],
      ),
  );

const exitCodeHelp = `\nExit codes:\n${Object.values(exitCodes)
  .map(({ code, means }) => `  ${String(code).padEnd(4)}${means}`)
  .join("\n")}\n`;

export interface RetryOptions extends OutOptions {
  sweep?: string;
  failed?: boolean;
  lost?: boolean;
  missing?: boolean;
  code?: string;
}

type Done = (exit: ExitName) => void;

function addSweepCommands(program: Command, terminal: Terminal, done: Done): void {
  withExperiment(program.command("sweep").description("train every trial of an experiment, or go on with it")).action(
    async (options: ExperimentOptions) => {
      done(await (await import("./commands/sweep.js")).sweep(options, terminal));
    },
  );
  withExperiment(program.command("plan").description("show trials, tokens and an estimate; train nothing")).action(
    async (options: ExperimentOptions) => {
      done(await (await import("./commands/plan.js")).plan(options, terminal));
    },
  );
}

function addReadCommands(program: Command, terminal: Terminal, done: Done): void {
  withOut(program.command("status [sweep]").description("where every sweep, or one, stands")).action(
    async (sweepId: string | undefined, options: OutOptions) => {
      done(await (await import("./commands/status.js")).status(sweepId, options, terminal));
    },
  );
  withOut(program.command("results [sweep]").description("the table of a sweep, the newest when none is named")).action(
    async (sweepId: string | undefined, options: OutOptions) => {
      done(await (await import("./commands/results.js")).results(sweepId, options, terminal));
    },
  );
}

function addVerbs(program: Command, terminal: Terminal, done: Done): void {
  const verbs = {
    pause: "grant no new leases; what trains goes on",
    resume: "go on with a paused, stopped or cancelled sweep",
    drain: "stop at a checkpoint; the sweep stays resumable",
    cancel: "stop now; trials that have not ended become cancelled",
  } as const;
  for (const [verb, description] of Object.entries(verbs) as [keyof typeof verbs, string][])
    withOut(program.command(`${verb} [sweep]`).description(description)).action(
      async (sweepId: string | undefined, options: OutOptions) => {
        done(await (await import("./commands/verbs.js")).send({ verb }, sweepId, options, terminal));
      },
    );
  withOut(program.command("retry [trials...]").description("send trials that failed back to the queue"))
    .option("--sweep <id>", "the newest when left out")
    .option("--failed", "every failed trial")
    .option("--lost", "trials whose trainer was lost")
    .option("--missing", "trials that ended without a result")
    .option("--code <code>", "with --failed: only failures with this code")
    .action(async (trials: string[], options: RetryOptions) => {
      done(await (await import("./commands/retry.js")).retry(trials, options, terminal));
    });
}

function addUpkeep(program: Command, terminal: Terminal, done: Done): void {
  withOut(program.command("gc").description("remove what trainers left and no sweep needs"))
    .option("--dry-run", "only say what would go")
    .action(async (options: OutOptions & { dryRun?: boolean }) => {
      done(await (await import("./commands/gc.js")).gc(options, terminal));
    });
  withOut(program.command("backup <file>").description("copy the store into a file, while a sweep runs too")).action(
    async (file: string, options: OutOptions) => {
      done(await (await import("./commands/backup.js")).backup(file, options, terminal));
    },
  );
}

/** The command line's surface; commands load when they are called, so that the program starts quickly. */
export function buildProgram(terminal: Terminal, done: Done): Command {
  const program = new Command("bora")
    .description("One LoRA adapter per task under a shared Gaussian prior: train, sweep and compare.")
    .version("0.1.0", "-V, --version")
    .configureOutput({
      writeOut: (text) => {
        terminal.out(text.trimEnd());
      },
      writeErr: (text) => {
        terminal.err(text.trimEnd());
      },
      getOutHelpWidth: () => Math.min(100, terminal.columns),
    })
    .showHelpAfterError("(bora --help lists commands and options)")
    .exitOverride()
    .addHelpText("after", exitCodeHelp);
  addSweepCommands(program, terminal, done);
  addReadCommands(program, terminal, done);
  addVerbs(program, terminal, done);
  addUpkeep(program, terminal, done);
  withExperiment(program.command("doctor").description("check what a sweep needs, and say what to do")).action(
    async (options: ExperimentOptions) => {
      done(await (await import("./commands/doctor.js")).doctor(options, terminal));
    },
  );
  return program;
}
