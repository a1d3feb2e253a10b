import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { text as readAll } from "node:stream/consumers";
import { BoraError, parseTau } from "@bora/contracts";
import { openLab } from "@bora/sdk";
import { chooseSources, type SourceChoice } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import { listenForInterrupts } from "../interrupt.js";
import { outFolder } from "../options.js";
import { terminalCanvas } from "../progress/reporter.js";
import type { Terminal } from "../terminal.js";
import type { GenerateOptions } from "../text-commands.js";
import { jsonTexts, textSections, type TextView } from "../texts/text-view.js";
import { chooseSweep } from "./verbs.js";

/** What the texts begin with. Throws usage unless it is given once, and data_missing or data_encoding for a bad file. */
async function promptOf({ prompt, promptFile }: GenerateOptions, terminal: Terminal): Promise<string> {
  if (prompt !== undefined && promptFile === undefined) return prompt;
  if (promptFile === undefined || prompt !== undefined)
    throw new BoraError("usage", `${prompt === undefined ? "no prompt" : "two prompts"} given; expected one`, {
      hint: "give one of --prompt TEXT and --prompt-file FILE",
    });
  if (promptFile === "-") return readAll(process.stdin);
  const path = resolve(terminal.cwd, promptFile);
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new BoraError("data_missing", `cannot read ${path}`, { hint: "correct --prompt-file", cause });
  });
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch (cause) {
    throw new BoraError("data_encoding", `${path} is not UTF-8`, { hint: "convert it, for example with iconv", cause });
  }
}

export const tausOf = (taus: readonly string[] = []): number[] => taus.flatMap((list) => list.split(",")).map(parseTau);

function choiceOf(options: GenerateOptions, terminal: Terminal): SourceChoice {
  const { task = [], tau, trial = [], base = false, priorMean = false, adapter = [] } = options;
  const folders = adapter.map((folder) => resolve(terminal.cwd, folder));
  return { tasks: task, taus: tausOf(tau), trialIds: trial, base, priorMean, folders };
}

async function openView(labels: string[], prompt: string, json: boolean, terminal: Terminal): Promise<TextView> {
  if (json) return jsonTexts(terminal, labels);
  return textSections(terminal, labels, prompt, terminal.isTty ? await terminalCanvas() : null);
}

/** `bora generate`: shows what base, Theta and tasks continue a prompt with. */
export async function generate(
  sweepId: string | undefined,
  options: GenerateOptions,
  terminal: Terminal,
): Promise<ExitName> {
  const prompt = await promptOf(options, terminal);
  const dir = outFolder(options, terminal);
  const left = new AbortController();
  const leave = () => left.abort();
  using _signals = listenForInterrupts({ onFirst: leave, onSecond: leave });
  await using lab = await openLab({ dir });
  const sweep = await chooseSweep(lab, sweepId, dir);
  const { model, sources, leftOut } = await chooseSources({ dir }, sweep.sweepId, choiceOf(options, terminal));
  if (leftOut.length > 0 && options.json !== true)
    terminal.err(`${leftOut.length} tasks are left out; --task names others: ${leftOut.slice(0, 10).join(", ")}`);
  const { seed, maxTokens, temperature, topP, topK } = options;
  const draws = { prompt, seed, maxTokens, temperature, topP, topK };
  const request = { model, sources: sources.map(({ source }) => source), ...draws };
  const labels = sources.map(({ label }) => label);
  const view = await openView(labels, prompt, options.json === true, terminal);
  try {
    for await (const piece of lab.generate(request, { signal: left.signal, onStage: view.stage })) view.piece(piece);
  } finally {
    view.end();
  }
  return "done";
}
