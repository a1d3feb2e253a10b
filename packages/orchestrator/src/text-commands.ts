import { InvalidArgumentError, Option, type Command } from "commander";
import { withOut, type Done } from "./program.js";
import type { OutOptions } from "./options.js";
import type { Terminal } from "./terminal.js";

/** Which trials and tasks of a sweep are meant. */
export interface ChoiceOptions extends OutOptions {
  task?: string[];
  tau?: string[];
  trial?: string[];
  priorMean?: boolean;
}

export interface GenerateOptions extends ChoiceOptions {
  prompt?: string;
  promptFile?: string;
  base?: boolean;
  adapter?: string[];
  seed: number;
  maxTokens: number;
  temperature: number;
  topP: number;
  topK: number;
}

export interface ExportOptions extends ChoiceOptions {
  to?: string;
  format: "peft" | "merged" | "vllm";
  dtype: "auto" | "float32" | "bfloat16";
  license?: string;
  force?: boolean;
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

/** Reads a number in a range; `whole` allows no fraction. */
const number =
  (low: number, high: number, whole: boolean) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() !== "" && value >= low && value <= high && (!whole || Number.isInteger(value))) return value;
    throw new InvalidArgumentError(`expected a ${whole ? "whole " : ""}number from ${low} to ${high}.`);
  };

const withChoice = (command: Command): Command =>
  withOut(command)
    .option("--task <name>", "a task, by its name or slug; may be repeated", collect)
    .option("--tau <tau>", "its trial, of several seeds the best on validation; may be repeated", collect)
    .option("--trial <id>", "a trial by its id; may be repeated", collect)
    .option("--prior-mean", "Theta, the mean of the prior");

const generateHelp = `
Without --task, --base, --prior-mean and --adapter: the base, Theta and the first six tasks.
Without --tau and --trial: the best trial on validation. Without a sweep: the one at work, or the newest.
The same seed gives the same texts, whatever else is asked beside them. Temperature 0 takes the most probable token.
`;

const exportHelp = `
Without --task and --prior-mean: every task and Theta. Without --tau and --trial: the best trial on validation.
peft    a folder an adapter, for PeftModel.from_pretrained
merged  a whole model an adapter, for AutoModelForCausalLM.from_pretrained
vllm    all adapters beside one base, with the command that serves them
Each has a model card, README.md. Nothing is written unless all of it is.
`;

/** generate and export: what one does with models that are trained. */
export function addTextCommands(program: Command, terminal: Terminal, done: Done): void {
  withChoice(
    program.command("generate [sweep]").description("continue a prompt by base, Theta and tasks, side by side"),
  )
    .option("--base", "the base model without an adapter")
    .option("--adapter <folder>", "any LoRA adapter in PEFT's format on the same base; may be repeated", collect)
    .option("--prompt <text>", "what the texts begin with")
    .option("--prompt-file <file>", "the same, from a UTF-8 file; - is standard input")
    .option("--seed <n>", "of the draws", number(0, 2 ** 32 - 1, true), 0)
    .option("--max-tokens <n>", "of each text", number(1, 1_000_000, true), 64)
    .option("--temperature <t>", "0 takes the most probable token", number(0, 100, false), 0.8)
    .option("--top-p <p>", "draw among the tokens that hold this much probability", number(1e-6, 1, false), 0.95)
    .option("--top-k <k>", "draw among so many tokens; 0: no limit", number(0, 1_000_000, true), 0)
    .addHelpText("after", generateHelp)
    .action(async (sweepId: string | undefined, options: GenerateOptions) => {
      done(await (await import("./commands/generate.js")).generate(sweepId, options, terminal));
    });
  withChoice(program.command("export [sweep]").description("write adapters for use elsewhere, with model cards"))
    .option("--to <folder>", "where; it must not be there yet")
    .addOption(
      new Option("--format <format>", "of what is written").choices(["peft", "merged", "vllm"]).default("peft"),
    )
    .addOption(
      new Option("--dtype <dtype>", "of merged weights; auto: as the base is stored")
        .choices(["auto", "float32", "bfloat16"])
        .default("auto"),
    )
    .option("--license <id>", "licence of these weights for the model cards, for example apache-2.0")
    .option("--force", "replace an earlier export, and nothing else")
    .addHelpText("after", exportHelp)
    .action(async (sweepId: string | undefined, options: ExportOptions) => {
      done(await (await import("./commands/export.js")).exportSweep(sweepId, options, terminal));
    });
}
