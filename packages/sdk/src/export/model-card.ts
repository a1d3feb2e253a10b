import { basename } from "node:path";
import { formatTau, parseExperiment, type ExperimentSpec, type SplitResult, type SweepResults } from "@bora/contracts";
import type { ChosenAdapter } from "./choose-adapters.js";
import type { ExportRequest } from "./export-request.js";

export interface CardFacts {
  results: SweepResults;
  format: ExportRequest["format"];
  license: string | null; // what the person said
  baseLicense: string | null; // what the base says of itself
  dtype: string | null; // of merged weights
}

const perplexity = (value: number | undefined): string => (value === undefined ? "" : value.toFixed(2));
const plain = (text: string): string => text.replace(/\s+/g, " ").replace(/[|\\<`*_]/g, "\\$&");
const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const experimentOf = ({ results }: CardFacts): ExperimentSpec => parseExperiment(results.experiment);

/** How others would name the base: a hub id as it is, a package or a folder by its name. */
export function baseName({ model }: ExperimentSpec): string {
  if (model.source === "package") return model.package;
  return model.source === "hub" ? model.id : basename(model.path);
}

/** The head that model hubs read. JSON strings are YAML. */
function frontMatter(facts: CardFacts): string {
  const merged = facts.format === "merged";
  return [
    "---",
    `base_model: ${JSON.stringify(baseName(experimentOf(facts)))}`,
    `base_model_relation: ${merged ? "finetune" : "adapter"}`,
    `library_name: ${merged ? "transformers" : "peft"}`,
    `license: ${JSON.stringify(facts.license ?? "unknown")}`,
    "pipeline_tag: text-generation",
    "tags: [lora, bora]",
    "---",
  ].join("\n");
}

const ofTask = (split: SplitResult | null | undefined, task: string | null): string =>
  task === null ? "" : perplexity(split?.tasks.find(({ name }) => name === task)?.perplexity);

/** Test perplexity of the base, of Theta, and of every tau; the row of this adapter is marked. */
function numbers({ results }: CardFacts, { entry, trial }: ChosenAdapter): string {
  const own = results.trials.find(({ id }) => id === trial.id);
  const mark = (text: string, here: boolean): string => (here ? `**${text}** (this one)` : text);
  const lines: [string, SplitResult | null | undefined][] = [
    ["base model", results.base?.test],
    [mark(`Theta alone, tau = ${formatTau(trial.tau)}`, entry.task === null), own?.priorMean?.test],
    ...results.trials.map(({ id, tau, seed, test }): [string, SplitResult | null] => {
      const several = results.trials.filter((other) => other.tau === tau).length > 1;
      const name = `task adapters, tau = ${formatTau(tau)}${several ? `, seed ${seed}` : ""}`;
      return [mark(name, id === trial.id && entry.task !== null), test];
    }),
  ];
  const head = ["model", ...(entry.task === null ? [] : ["this task"]), "all tasks (macro)", "all tokens (micro)"];
  const body = lines
    .filter(([, split]) => split != null)
    .map(([name, split]) => [
      name,
      ...(entry.task === null ? [] : [ofTask(split, entry.task)]),
      ...[perplexity(split?.macroPerplexity), perplexity(split?.microPerplexity)],
    ]);
  return [row(head), row(head.map((_, at) => (at === 0 ? "---" : "---:"))), ...body.map(row)].join("\n");
}

/** Documents and scored tokens, of one task or of each. */
function data({ results }: CardFacts, task: string | null): string {
  const tasks = results.data.tasks.filter(({ name }) => task === null || name === task);
  const splits = ["train", "validation", "test"] as const;
  const head = ["task", ...splits.map((split) => `${split} documents`), ...splits.map((split) => `${split} tokens`)];
  const rows = tasks.map(({ name, documents, scoredTokens }) => [
    plain(name),
    ...splits.map((split) => String(documents[split])),
    ...splits.map((split) => String(scoredTokens[split])),
  ]);
  return [row(head), row(head.map((_, at) => (at === 0 ? "---" : "---:"))), ...rows.map(row)].join("\n");
}

function origin(facts: CardFacts, { trial }: ChosenAdapter): string {
  const { results } = facts;
  const { adapter, train } = experimentOf(facts);
  const { bestStep = null } = results.trials.find(({ id }) => id === trial.id) ?? {};
  const layers = adapter.layers === undefined ? "" : `, layers ${adapter.layers.join(", ")}`;
  const versions = Object.entries(results.versions).map(([name, version]) => `${name} ${version}`);
  const { execution } = results;
  return [
    `- sweep ${results.sweepId}, trial ${trial.id}: tau = ${formatTau(trial.tau)}, seed ${trial.seed}`,
    `- ${adapter.family}, rank ${adapter.rank}, alpha ${adapter.alpha}, targets ${adapter.targets.join(", ")}${layers}`,
    `- learning rate ${train.learningRate}, weights of step ${bestStep ?? "?"} (the best on validation)`,
    ...(execution === null ? [] : [`- trained on ${execution.device} with the base in ${execution.dtype}`]),
    `- base model: sha256 ${results.model.hash}`,
    `- data: sha256 ${results.data.hash}`,
    `- versions: ${versions.join(", ") || "unknown"}`,
  ].join("\n");
}

function loading({ results, format, dtype }: CardFacts): string {
  if (format === "merged")
    return [
      `The adapter is added to the base's weights (${dtype ?? "dtype of the base"}); nothing but transformers is needed:`,
      "",
      "```python",
      "from transformers import AutoModelForCausalLM, AutoTokenizer",
      'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")',
      'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
      "```",
    ].join("\n");
  return [
    "```python",
    "from peft import PeftModel",
    "from transformers import AutoModelForCausalLM",
    `base = AutoModelForCausalLM.from_pretrained(${JSON.stringify(results.model.name)})`,
    'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
    "```",
  ].join("\n");
}

function licence({ license, baseLicense }: CardFacts): string {
  const own =
    license === null ? "None was stated for these weights." : `These weights: ${license}, as their maker said.`;
  const base =
    baseLicense === null
      ? "The licence of the base model is not known here: its files do not say. Look it up before you pass this on; it may bind what is derived from it."
      : `The base model says of itself: ${baseLicense}.`;
  return `${own} ${base} The texts it was trained on may have terms of their own.`;
}

/** README.md of an exported adapter: what it is, its numbers, what they rest on, how to load it, its licence. */
export function modelCard(facts: CardFacts, chosen: ChosenAdapter): string {
  const { entry } = chosen;
  const count = facts.results.data.tasks.length;
  const others = count === 2 ? "1 other task" : `${count - 1} other tasks`;
  const what =
    entry.task === null
      ? `Theta, the mean of the prior over the adapters of ${count} tasks: what the tasks have in common, and where to start for one that is new.`
      : `A LoRA adapter for the task "${plain(entry.task)}", trained together with those of ${others} under a Gaussian prior of precision tau around their common mean Theta (BoRA).`;
  const title = entry.task === null ? "Theta" : plain(entry.task);
  return `${[
    frontMatter(facts),
    `# ${title}, tau = ${formatTau(entry.tau)}`,
    what,
    "## Test perplexity",
    numbers(facts, chosen),
    "Lower is better. Test documents were used for nothing else. Macro: every task counts the same; micro: every token.",
    "## Trained on",
    data(facts, entry.task),
    "## What it rests on",
    origin(facts, chosen),
    "## How to load it",
    loading(facts),
    "## Licence",
    licence(facts),
  ].join("\n\n")}\n`;
}
