import { formatBytes, formatTau, type ExperimentSpec } from "@bora/contracts";
import { openLab, type Preview } from "@bora/sdk";
import type { ExitName } from "../exit-codes.js";
import { experimentOf, labFolder, type ExperimentOptions } from "../options.js";
import { duration, short } from "../progress/words.js";
import { table } from "../table.js";
import type { Terminal } from "../terminal.js";

const count = (value: number): string => Math.round(value).toLocaleString("en-US");

function modelName({ model }: ExperimentSpec): string {
  if (model.source === "package") return model.package;
  return model.source === "hub" ? model.id : model.path;
}

function taskTable({ inspected }: Preview): string {
  const rows = inspected.tasks.map(({ name, documents, scoredTokens, cutDocuments, cutTokens }) => [
    name,
    ...[documents.train, documents.validation, documents.test].map(count),
    ...[scoredTokens.train, scoredTokens.validation, scoredTokens.test].map(count),
    cutDocuments === 0 ? "" : `${count(cutDocuments)} (${count(cutTokens)} tokens)`,
  ]);
  return table(
    ["task", "train", "valid.", "test", "train tokens", "valid.", "test", "documents cut"],
    rows,
    "lrrrrrrr",
  );
}

/** From this width on a pack's memory is shown in its parts. */
const wide = 100;

function packTable({ plan, estimate, memory: device }: Preview, columns: number): string {
  if (plan.packs.length === 0) return "nothing left to train";
  const parts = columns >= wide;
  const { freeBytes } = device;
  const rows = estimate.packs.map(({ memory, tokensPerStep, secondsLow, secondsHigh, ...pack }, index) => [
    String(index + 1),
    String(pack.trials),
    count(pack.rows),
    ...(parts ? [memory.fits + memory.rows, memory.saving, memory.passing].map(formatBytes) : []),
    formatBytes(memory.peak),
    Number.isFinite(freeBytes) ? `${Math.ceil((100 * memory.peak) / freeBytes)} %` : "",
    count(tokensPerStep),
    timeRange(secondsLow, secondsHigh),
  ]);
  const head = [
    "pack",
    "trials",
    "rows",
    ...(parts ? ["adapters", "checkpoint", "micro-batch"] : []),
    "peak memory",
    "of free",
  ];
  return table([...head, "tokens a step", "time"], rows, "r".repeat(head.length + 2));
}

/** What is counted, a line each: all that a pack's peak is made of. docs/performance.md, Memory. */
function memoryLines({ inspected, estimate, memory }: Preview): string {
  const most = Math.max(0, ...estimate.packs.map((pack) => pack.memory.microBatchTokens));
  const tokens = most === 0 ? "" : ` (at most ${count(most)})`;
  const facts: [number, string][] = [
    [inspected.bytesPerRow, "an adapter row: a trial has one for each task"],
    [inspected.bytesPerFit, "a trial beside its rows: Theta"],
    [inspected.activationBytesPerToken, `a token of a micro-batch${tokens}`],
    [inspected.workingBytes, "a micro-batch's cross-entropy"],
    [inspected.baseBytes, "the frozen base model"],
    [inspected.processBytes, "the process itself"],
    [inspected.prefixCacheBytes, "on disk: hidden states below the adapted layers"],
  ];
  const free = Number.isFinite(memory.freeBytes) ? formatBytes(memory.freeBytes) : "an unknown part";
  const all = memory.totalBytes > 0 ? ` of ${formatBytes(memory.totalBytes)}` : "";
  return [
    `memory: ${free}${all} free on ${memory.device === "" ? "the trainer's device" : memory.device}`,
    ...facts.filter(([bytes]) => bytes > 0).map(([bytes, what]) => `${formatBytes(bytes).padStart(10)}  ${what}`),
  ].join("\n");
}

function timeRange(low: number | null, high: number | null): string {
  if (low === null || high === null) return "not known yet";
  return `${duration(low * 1000)} to ${duration(high * 1000)}`;
}

function trialTable({ plan, finished }: Preview): string {
  const packOf = (id: string) => plan.packs.findIndex(({ trialIds }) => trialIds.includes(id)) + 1;
  const rows = plan.trials.map(({ id, tau, seed }) => [
    id,
    formatTau(tau),
    String(seed),
    finished.includes(id) ? "trained" : `pack ${packOf(id)}`,
  ]);
  return table(["trial", "tau", "seed", ""], rows, "lrrl");
}

/** The preview as text for a terminal of so many columns. */
export function previewText(preview: Preview, spec: ExperimentSpec, columns: number): string {
  const { plan, inspected, estimate, finished } = preview;
  const left = plan.trials.length - finished.length;
  return [
    `sweep ${plan.sweepId}`,
    `model ${modelName(spec)}: ${short(inspected.baseParameters)} parameters, ${spec.adapter.family} rank ` +
      `${spec.adapter.rank} on ${inspected.adaptedModules} modules, ${count(inspected.parametersPerRow)} weights an adapter`,
    "",
    taskTable(preview),
    "",
    trialTable(preview),
    "",
    packTable(preview, columns),
    "",
    memoryLines(preview),
    "",
    `${left} of ${plan.trials.length} trials to train, at most ${count(spec.train.maxSteps)} steps each, an epoch is ` +
      `${count(estimate.stepsPerEpoch)} steps; in all ${timeRange(estimate.secondsLow, estimate.secondsHigh)}`,
    ...inspected.warnings.map((warning) => `warning: ${warning}`),
  ].join("\n");
}

/** `bora plan`: what a sweep would do, before anything is spent. */
export async function plan(options: ExperimentOptions, terminal: Terminal): Promise<ExitName> {
  const spec = await experimentOf(options, terminal);
  await using lab = await openLab(labFolder(options, terminal));
  const onStage = (text: string) => {
    if (options.json !== true) terminal.err(text);
  };
  const preview = await lab.plan(spec, { onStage });
  if (options.json === true) {
    const { controllerApi } = await import("@bora/sdk/controller");
    terminal.out(controllerApi.toJson(preview));
  } else terminal.out(previewText(preview, spec, terminal.columns));
  return "done";
}
