import { formatTau, type ExperimentSpec } from "@bora/contracts";
import { openLab, type Preview } from "@bora/sdk";
import type { ExitName } from "../exit-codes.js";
import { experimentOf, outFolder, type ExperimentOptions } from "../options.js";
import { bytes, duration, short } from "../progress/words.js";
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

function packTable({ plan, estimate }: Preview): string {
  const rows = estimate.packs.map((pack, index) => [
    String(index + 1),
    String(pack.trials),
    count(pack.rows),
    bytes(pack.bytes),
    count(pack.tokensPerStep),
    timeRange(pack.secondsLow, pack.secondsHigh),
  ]);
  if (plan.packs.length === 0) return "nothing left to train";
  return table(["pack", "trials", "rows", "memory at least", "tokens a step", "time"], rows, "rrrrrr");
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

/** The preview as text. */
export function previewText(preview: Preview, spec: ExperimentSpec): string {
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
    packTable(preview),
    "",
    `${left} of ${plan.trials.length} trials to train, at most ${count(spec.train.maxSteps)} steps each, an epoch is ` +
      `${count(estimate.stepsPerEpoch)} steps; in all ${timeRange(estimate.secondsLow, estimate.secondsHigh)}`,
    ...inspected.warnings.map((warning) => `warning: ${warning}`),
  ].join("\n");
}

/** `bora plan`: what a sweep would do, before anything is spent. */
export async function plan(options: ExperimentOptions, terminal: Terminal): Promise<ExitName> {
  const spec = await experimentOf(options, terminal);
  await using lab = await openLab({ dir: outFolder(options, terminal) });
  const onStage = (text: string) => {
    if (options.json !== true) terminal.err(text);
  };
  const preview = await lab.plan(spec, { onStage });
  if (options.json === true) {
    const { controllerApi } = await import("@bora/sdk");
    terminal.out(controllerApi.toJson(preview));
  } else terminal.out(previewText(preview, spec));
  return "done";
}
