import { Command, Option } from "commander";
import type { CertsOptions } from "./commands/certs.js";
import type { AdaptOptions } from "./commands/adapt.js";
import type { EvaluateOptions } from "./commands/evaluate.js";
import { withData } from "./data-options.js";
import { exitCodes, type ExitName } from "./exit-codes.js";
import type { ExperimentOptions, OutOptions } from "./options.js";
import type { Terminal } from "./terminal.js";
import { addTextCommands } from "./text-commands.js";

const collect = (value: string, before: string[]): string[] => [...before, value];

export const withOut = (command: Command): Command =>
  command
    .addOption(new Option("--out <folder>", "where the store and the results are").default("runs"))
    .addOption(
      new Option("--trainers <file>", "running trainers to use instead of one started here").env("BORA_TRAINERS"),
    )
    .addOption(new Option("--json", "JSON lines only on standard output"));

const withSet = (command: Command): Command =>
  command.option(
    "--set <path=value>",
    "a value instead of the experiment's, for example train.maxSteps=20; may be repeated",
    collect,
    [],
  );

const withExperiment = (command: Command): Command =>
  withOut(
    withSet(
      command
        .option("--spec <file>", "experiment file (YAML or JSON); examples/shakespeare.yaml when left out")
        .option("--taus <list>", "prior precisions instead of the file's, for example 0,1e4,inf"),
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

export interface ReportOptions extends OutOptions {
  to?: string;
}

export interface ServeCommandOptions extends OutOptions {
  port?: string;
  host?: string;
  tlsCertificate?: string;
  tlsKey?: string;
  tokenFile?: string;
  open?: boolean;
}

export type Done = (exit: ExitName) => void;

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
  withOut(program.command("compare <sweeps...>"))
    .description("two or more sweeps against the first: ids of --out, or paths of results folders")
    .option("--to <folder>", "where to write; comparison-<ids> in --out when left out")
    .action(async (sweeps: string[], options: ReportOptions) => {
      done(await (await import("./commands/compare.js")).compare(sweeps, options, terminal));
    });
  withOut(program.command("report [sweep]"))
    .description("figures, tables and a page of a sweep, the newest when none is named; a path names a results folder")
    .option("--to <folder>", "where to write; the sweep's own folder when left out")
    .action(async (sweep: string | undefined, options: ReportOptions) => {
      done(await (await import("./commands/report.js")).report(sweep, options, terminal));
    });
}

function addUsesOfTheta(program: Command, terminal: Terminal, done: Done): void {
  const adapt = program
    .command("adapt <sweep>")
    .description("fit a new task's adapter with the sweep's Theta fixed as its prior, or draw few-shot curves")
    .option("--tau <value>", "prior precision around Theta; auto: the sweep's best by validation above 0", "auto")
    .option("--task <name>", "a task that the sweep has not seen: of --data, or of the sweep's own source")
    .option("--documents <n>", "training documents to keep; 0: Theta itself; all when left out")
    .option("--curve", "leave each of the sweep's tasks out in turn, and adapt to it with few documents")
    .option("--tasks <names...>", "with --curve: only these")
    .option("--sizes <list>", "with --curve: numbers of documents beside 0 and all, for example 1,4,16");
  withSet(withOut(withData(adapt))).action(async (sweep: string, options: AdaptOptions) => {
    done(await (await import("./commands/adapt.js")).adapt(sweep, options, terminal));
  });
  const evaluate = program
    .command("evaluate <adapters...>")
    .description(
      "score adapters on documents: base, folders in PEFT's format, and of --sweep theta@tau or task@tau; " +
        "the first is what the others are compared with",
    )
    .option("--sweep <id>", "a finished sweep: its base, its adapters, its data unless --data is there")
    .option("--spec <file>", "or an experiment file: its base and its data")
    .option("--tasks <names...>", "only these tasks of the data");
  withSet(withOut(withData(evaluate))).action(async (adapters: string[], options: EvaluateOptions) => {
    done(await (await import("./commands/evaluate.js")).evaluate(adapters, options, terminal));
  });
}

function addServe(program: Command, terminal: Terminal, done: Done): void {
  withOut(program.command("serve").description("show sweeps on a web page, until Ctrl-C"))
    .option("--port <n>", "a free one when left out")
    .option("--host <address>", "127.0.0.1 when left out; off loopback only with a certificate and its key")
    .option("--tls-certificate <file>", "PEM file with the page's certificate chain, whose names it answers to")
    .option("--tls-key <file>", "PEM file with its private key")
    .option("--token-file <file>", "tokens of programs that open the folder by the page's address (openLab)")
    .option("--open", "open it in the browser")
    .action(async (options: ServeCommandOptions) => {
      done(await (await import("./commands/serve.js")).serve(options, terminal));
    });
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

function addSetUp(program: Command, terminal: Terminal, done: Done): void {
  program
    .command("certs")
    .description("make a CA, certificates and tokens for trainers on other machines, and for the page")
    .requiredOption("--to <folder>", "a new folder for them")
    .option("--host <name>", "a machine with trainers, as the controller reaches it; may be repeated", collect, [])
    .option("--page-host <name>", "the machine of bora serve, as browsers reach it; may be repeated", collect, [])
    .option("--days <number>", "until they expire", "825")
    .option("--json", "one JSON line on standard output")
    .action(async (options: CertsOptions) => {
      done(await (await import("./commands/certs.js")).certs(options, terminal));
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
  addUsesOfTheta(program, terminal, done);
  addServe(program, terminal, done);
  addVerbs(program, terminal, done);
  addSetUp(program, terminal, done);
  addTextCommands(program, terminal, done);
  addUpkeep(program, terminal, done);
  withExperiment(program.command("doctor").description("check what a sweep needs, and say what to do")).action(
    async (options: ExperimentOptions) => {
      done(await (await import("./commands/doctor.js")).doctor(options, terminal));
    },
  );
  return program;
}
