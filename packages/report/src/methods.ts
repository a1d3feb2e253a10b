import { modelName } from "@bora/analysis";
import { formatTau, parseExperiment, type ExperimentSpec, type SweepResults } from "@bora/contracts";
import { count, source, total } from "./what-was-run.js";

function training({ train, prior }: ExperimentSpec, seeds: readonly number[]): string {
  const [beta1, beta2] = train.betas;
  return (
    `Adam (betas ${beta1} and ${beta2}, learning rate ${train.learningRate} for every tau, ${train.decay}, ` +
    `${count(train.warmupSteps, "warm-up step")}, ${train.tokensPerTask} tokens a task and step) acted on the likelihood alone, ` +
    `the ${prior.family === "gaussian" ? "Gaussian" : "group-Laplace"} prior through its exact proximal step. A trial ended when ` +
    `${count(train.patience, "evaluation")} in a row, one every ${count(train.evaluateEvery, "step")}, had not lowered macro ` +
    `validation nats per token, or after ${count(train.maxSteps, "step")}, and kept the adapters of its best step. ` +
    `${seeds.length === 1 ? `One seed (${seeds[0]})` : `Seeds ${seeds.join(", ")}`} for every tau.`
  );
}

function adapters({ adapter }: ExperimentSpec): string {
  const layers = adapter.layers === undefined ? "all layers" : count(adapter.layers.length, "layer");
  const family = adapter.family === "lora" ? "LoRA" : "rsLoRA";
  return `${family} adapter (rank ${adapter.rank}, alpha ${adapter.alpha}, on ${adapter.targets.join(", ")} in ${layers})`;
}

function documents({ data: { tasks } }: SweepResults): string {
  const splits = ["train", "validation", "test"] as const;
  const [train, validation, test] = splits.map((split) => total(tasks.map((task) => task.documents[split])));
  const scored = total(tasks.map(({ scoredTokens }) => scoredTokens.train));
  const sizes = tasks.map(({ documents: own }) => own.train);
  return (
    `${train} training documents (${Math.min(...sizes)} to ${Math.max(...sizes)} a task, ${scored.toLocaleString("en")} ` +
    `scored tokens), ${validation} validation and ${test} test documents`
  );
}

const statistics =
  "Perplexity is exp of nats per token, macro over tasks unless it says otherwise; tau was chosen by the lowest macro " +
  "validation nats per token (mean over seeds), and test documents were scored once, at each trial's best step. Differences " +
  "are of paired models on the same documents, with 95 % intervals from a paired bootstrap (10,000 multinomial resamples of " +
  "documents within tasks, seeds resampled first where there are several) stretched to the jackknife's standard error and " +
  "Student's t, percentile, or BCa below 50 documents (where it covers no better than percentile in our simulations); " +
  "p-values are two-sided and adjusted by Holm's method. No interval speaks of other corpora, models or learning rates.";

/** What was run, on what data, with what versions, and how numbers were compared: paragraphs for a methods section. */
export function methods(results: SweepResults): string[] {
  const experiment = parseExperiment(results.experiment);
  const { data, model, execution, versions } = results;
  const taus = [...new Set(results.trials.map(({ tau }) => tau))].map(formatTau);
  const seeds = [...new Set(results.trials.map(({ seed }) => seed))];
  const split =
    experiment.data.split.by === "date" ? "by date, newest for test" : `by seed ${experiment.data.split.seed}`;
  const precision = execution === null ? "" : `, base weights in ${execution.dtype} on ${execution.device}`;
  const named = Object.entries(versions)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, version]) => `${name} ${version}`);
  return [
    `We trained one ${adapters(experiment)} for each of ${data.tasks.length} tasks on the frozen model ${modelName(results)} ` +
      `(sha256 ${model.hash.slice(0, 12)}${precision}), under the hierarchical prior theta_d ~ N(Theta, I / tau) with tau in ` +
      `{${taus.join(", ")}} nats: tau = 0 trains every task alone, tau = inf trains one adapter for all (Eide and Frigessi, BoRA, NLDL 2025).`,
    `The data are ${source(experiment.data)} (sha256 ${data.hash.slice(0, 12)}), split ${split}: ${documents(results)}, cut to ` +
      `${experiment.data.maxTokens} tokens.`,
    training(experiment, seeds),
    statistics,
    `Software: ${named.length === 0 ? "versions are not known" : named.join(", ")}.`,
  ];
}
