import { modelName } from "@bora/analysis";
import { parseExperiment, type ExperimentSpec, type SweepResults } from "@bora/contracts";
import { html, type Html } from "./html.js";

export function source(data: ExperimentSpec["data"]): string {
  switch (data.source) {
    case "shakespeare":
      return "speeches from Shakespeare's plays, a task for each speaker";
    case "talk-of-norway":
      return `speeches from the Talk of Norway corpus (${data.path}), a task for each speaker`;
    case "csv":
    case "jsonl":
    case "parquet":
      return `the ${data.source} file ${data.path}, a task for each value of ${data.columns.task}`;
    default:
      return data satisfies never;
  }
}

export const count = (n: number, thing: string): string => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;

export const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** What rounding does to the test numbers, where that was asked for. */
function float32Words(results: SweepResults): string {
  const checks = results.trials.flatMap(({ float32Check }) => float32Check ?? []);
  if (checks.length === 0) return "";
  const most = (shares: readonly number[]): string => `${(100 * Math.max(...shares)).toPrecision(2)} %`;
  const macro = checks.map(({ natsPerToken: a, float32NatsPerToken: b }) => Math.abs(a - b) / b);
  const documents = checks.map(({ largestRelativeDifference }) => largestRelativeDifference);
  return `With the base in float32 a trial's macro test nats per token differ by at most ${most(macro)}, a document's
    nats by at most ${most(documents)}.`;
}

/** Model, data, adapter, prior, training and versions, in sentences. */
export function whatWasRun(results: SweepResults): Html {
  const { data, adapter, prior, train } = parseExperiment(results.experiment);
  const { tasks } = results.data;
  const { execution, versions } = results;
  const documents = total(tasks.map((task) => total(Object.values(task.documents))));
  const split = data.split.by === "date" ? "by date (oldest train, newest test)" : `by seed ${data.split.seed}`;
  const layers = adapter.layers === undefined ? "all layers" : count(adapter.layers.length, "layer");
  const [beta1, beta2] = train.betas;
  return html`<dl>
    <dt>Model</dt>
    <dd>
      ${modelName(results)}, frozen${execution === null ? "" : `, in ${execution.dtype} (${execution.dtypeReason})`}.
      ${float32Words(results)}
      <code>${results.model.hash}</code>
    </dd>
    <dt>Data</dt>
    <dd>
      ${count(tasks.length, "task")} with ${count(documents, "document")} from ${source(data)}; split ${split} into
      ${data.split.fractions.join(" / ")} for training, validation and test; documents cut to ${data.maxTokens} tokens.
      <code>${results.data.hash}</code>
    </dd>
    <dt>Adapters</dt>
    <dd>
      One ${adapter.family === "lora" ? "LoRA" : "rsLoRA"} adapter a task, rank ${adapter.rank}, alpha ${adapter.alpha},
      on ${adapter.targets.join(", ")} in ${layers}.
    </dd>
    <dt>Prior</dt>
    <dd>
      ${prior.family === "gaussian" ? "Gaussian around a shared mean" : "Group Laplace around a shared mean"}, precision
      τ in nats. τ = 0 trains every task alone, τ = inf trains one adapter for all.
    </dd>
    <dt>Training</dt>
    <dd>
      Learning rate ${train.learningRate} for every τ (${train.decay}, ${count(train.warmupSteps, "warm-up step")}),
      Adam betas ${beta1} and ${beta2}, until ${count(train.patience, "evaluation")} in a row, one every
      ${count(train.evaluateEvery, "step")}, brought no better macro validation perplexity, or ${train.maxSteps} steps;
      the best step is kept. Test was scored once, at that step.
    </dd>
    <dt>Machine</dt>
    <dd>${execution === null ? "not known" : `${execution.device}, ${count(execution.threads, "thread")}`}.</dd>
    <dt>Versions</dt>
    <dd>
      ${Object.entries(versions)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, version]) => `${name} ${version}`)
        .join(", ")}.
    </dd>
  </dl>`;
}
