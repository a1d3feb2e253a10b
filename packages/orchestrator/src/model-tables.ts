import type { Adaptation, Evaluation, FewShotCurves, ModelDifference, ModelLevel } from "@bora/contracts";
import { formatTau } from "@bora/contracts";
import { table } from "./table.js";

const number = (value: number | null, digits = 3): string => (value === null ? "?" : value.toFixed(digits));
const range = ({ low, high }: { low: number | null; high: number | null }, digits = 3): string =>
  low === null || high === null ? "not known" : `${number(low, digits)} to ${number(high, digits)}`;
const signed = (value: number): string => `${value > 0 ? "+" : ""}${value.toFixed(1)} %`;

const shownNames: Record<string, string> = {
  base: "base model",
  "prior-mean": "Theta alone",
  scratch: "from scratch",
  adapted: "adapted",
};
const shownName = (name: string): string => shownNames[name] ?? name;

const levels = (models: readonly ModelLevel[]): string =>
  table(
    ["model", "nats/token", "95 % interval", "perplexity"],
    models.map((model) => [
      ...[shownName(model.name), number(model.natsPerToken), range(model), number(model.perplexity, 2)],
    ]),
    "lrlr",
  );

const differences = (found: readonly ModelDifference[]): string =>
  table(
    ["difference", "nats/token", "95 % interval", "perplexity", ""],
    found.map((one) => [
      `${shownName(one.first)} - ${shownName(one.second)}`,
      ...[number(one.natsPerToken), range(one), signed(one.percent), one.withinNoise ? "within noise" : ""],
    ]),
    "lrlrl",
  );

const warned = (warnings: readonly string[]): string[] =>
  warnings.length === 0 ? [] : ["", ...warnings.map((warning) => `warning: ${warning}`)];

/** `bora adapt` in text. */
export function adaptationText(found: Adaptation): string {
  const { train, validation, test } = found.data.documents;
  return [
    `${found.task}: ${train} training documents, ${validation} validation, ${test} test`,
    `Theta of ${found.sweepId}, tau = ${formatTau(found.tau)} (${found.tauChoice})`,
    "",
    "test nats per token, by document",
    levels(found.models),
    "",
    differences(found.differences),
    ...warned(found.warnings),
  ].join("\n");
}

/** `bora adapt --curve` in text: the mean over tasks at every size. */
export function curvesText(curves: FewShotCurves): string {
  const mean = (size: number | "all", model: string) =>
    curves.points.find((point) => point.task === null && point.size === size && point.model === model);
  const perplexity = (size: number | "all", model: string): string => {
    const point = mean(size, model);
    return point === undefined ? "" : Math.exp(point.natsPerToken).toFixed(2);
  };
  const gain = (size: number | "all", second: string): string => {
    const one = curves.differences.find((found) => found.size === size && found.second === second);
    return one === undefined ? "" : `${signed(one.percent)}${one.withinNoise ? " *" : ""}`;
  };
  const rows = curves.sizes.map((size) => [
    String(size),
    ...["base", "prior-mean", "scratch", "adapted"].map((model) => perplexity(size, model)),
    ...["prior-mean", "scratch"].map((second) => gain(size, second)),
  ]);
  return [
    `${curves.tasks.length} tasks, each left out of Theta in turn; tau = ${formatTau(curves.tau)} (${curves.tauChoice})`,
    "test perplexity, mean over tasks, by training documents of the new task (* within noise)",
    table(["documents", "base", "Theta", "scratch", "adapted", "vs Theta", "vs scratch"], rows, "lrrrrrr"),
    ...warned(curves.warnings),
  ].join("\n");
}

/** `bora evaluate` in text. */
export function evaluationText(found: Evaluation): string {
  const documents = found.data.tasks.reduce((sum, task) => sum + task.documents, 0);
  const which = found.split === "test" ? "test documents" : "documents";
  const rows = found.adapters.map((adapter) => [
    adapter.name,
    ...[adapter.macroPerplexity, adapter.microPerplexity].map((value) => number(value, 2)),
    number(adapter.bitsPerCharacter),
  ]);
  return [
    `${documents} ${which} of ${found.data.tasks.length} tasks`,
    table(["adapter", "macro ppl", "micro ppl", "bits/char"], rows, "lrrr"),
    "",
    "nats per token, mean over tasks",
    levels(found.models),
    ...(found.differences.length > 0 ? ["", differences(found.differences)] : []),
    ...warned(found.warnings),
  ].join("\n");
}
