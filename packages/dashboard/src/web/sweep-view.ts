import { compareTasks, compareTaus, describeWinner, modelName, perplexityByTau } from "@bora/analysis";
import { formatTau, parseExperiment, toBoraError, type SweepResults } from "@bora/contracts";
import { progress } from "@bora/sdk/controller";
import type { Figures, PackRow, Standing, SweepRow, SweepView, TaskRow, TauRow, TrialRow } from "./page-api.js";
import type { SweepIndex } from "./sweep-index.js";

const pointsInAll = 40_000; // of the curves in one answer
const unfinished: ReadonlySet<TrialRow["at"]> = new Set(["planned", "training", "stopped"]);

export type Results = SweepResults | null;

/** What is known of a sweep beside its events. */
export interface Known {
  standing: Standing;
  results: Results;
  reason: SweepView["reason"];
}

function bestOf(results: Results): SweepRow["best"] {
  if (results?.best == null) return null;
  const { tau, trialId } = results.best;
  const perplexity = compareTaus(results).find((row) => row.tau === tau)?.macroTest ?? null;
  return perplexity === null ? null : { tau, trialId, perplexity };
}

export function sweepRow(index: SweepIndex, { standing, results }: Known): SweepRow {
  const { sweepId, plannedAtMs, lastAtMs } = index;
  const { name, inspected, tasks } = index.progress;
  const trials = [...index.progress.trials.values()];
  return {
    ...{ sweepId, name, plannedAtMs, lastAtMs, standing, tasks: tasks.length },
    model: inspected === null ? "" : modelName({ model: { name: inspected.modelName, hash: inspected.modelHash } }),
    taus: new Set(trials.map(({ tau }) => tau)).size,
    trials: {
      all: trials.length,
      ended: trials.filter(({ at }) => !unfinished.has(at)).length,
      failed: trials.filter(({ at }) => at === "failed").length,
    },
    best: bestOf(results),
  };
}

const open: ReadonlySet<string> = new Set(["planned", "queued", "running", "stopped"]);

/** The same of a sweep that has ended, from what it wrote: its events need not be read. */
export function endedRow(
  { sweepId, name, plannedAtMs }: Pick<SweepRow, "sweepId" | "name" | "plannedAtMs">,
  { outcome, lastAtMs }: { outcome: Standing; lastAtMs: number },
  results: SweepResults,
): SweepRow {
  const { trials, model, data } = results;
  return {
    ...{ sweepId, name, plannedAtMs, lastAtMs, standing: outcome, model: model.name, tasks: data.tasks.length },
    taus: new Set(trials.map(({ tau }) => tau)).size,
    trials: {
      all: trials.length,
      ended: trials.filter(({ state }) => !open.has(state)).length,
      failed: trials.filter(({ state }) => state === "failed" || state === "metrics_missing").length,
    },
    best: bestOf(results),
  };
}

export function packRow(index: SweepIndex, pack: progress.PackProgress): PackRow {
  const { number, at, rows, attempt, trainerId, device, step, tokensPerSecond, lastAt, note } = pack;
  return {
    ...{ number, at, trials: pack.trialIds.length, rows, attempt, trainerId, device, step, tokensPerSecond, note },
    msLeft: progress.timeLeft(index.progress, pack),
    lastAtMs: lastAt,
    plannedBytes: pack.predictedBytes,
    peakBytes: pack.peakBytes,
  };
}

function trialRows(index: SweepIndex, results: Results): TrialRow[] {
  const tests = new Map(results?.trials.map((trial) => [trial.id, trial.test?.macroPerplexity ?? null]));
  return [...index.progress.trials.values()].map((trial) => {
    const { id, tau, seed, at, train, validation, bestStep, steps, ended, failure } = trial;
    const numbers = { train, validation: validation.at(-1) ?? null, test: tests.get(id) ?? null };
    return { ...{ id, tau, seed, at, bestStep, steps, ended, failure }, ...numbers };
  });
}

const tauRows = (results: SweepResults): TauRow[] =>
  compareTaus(results).map((row) => ({
    ...{ tau: row.tau, seeds: row.seeds, validation: row.macroValidation, test: row.macroTest, micro: row.microTest },
    ...{ priorMean: row.priorMeanMacroTest, best: row.best },
    ...{ againstIndependent: row.againstIndependent, againstShared: row.againstShared },
  }));

function taskRows(results: SweepResults): TaskRow[] {
  const known = new Map(results.data.tasks.map((task) => [task.name, task]));
  return compareTasks(results).flatMap(({ trainDocuments: _, ...row }) => {
    const task = known.get(row.name);
    return task === undefined ? [] : [{ ...row, slug: task.slug, documents: task.documents }];
  });
}

/** What is run, as pairs of a word and its value. */
export function factsOf(results: SweepResults): [string, string][] {
  const { data, model } = results;
  const sum = (of: (task: (typeof data.tasks)[number]) => number) =>
    data.tasks.reduce((total, task) => total + of(task), 0);
  const facts: [string, string][] = [["model", model.name]];
  try {
    const { adapter, data: source, train } = parseExperiment(results.experiment);
    const layers = adapter.layers === undefined ? "all layers" : `${adapter.layers.length} layers`;
    const targets = adapter.targets.join(", ");
    facts.push(["adapter", `${adapter.family}, rank ${adapter.rank}, alpha ${adapter.alpha}, ${targets}, ${layers}`]);
    facts.push(["training", `lr ${train.learningRate}, at most ${train.maxSteps} steps, patience ${train.patience}`]);
    facts.push(["data", `${source.source}, at most ${source.maxTokens} tokens a document`]);
  } catch (error) {
    facts.push(["experiment", `not readable by this version: ${toBoraError(error).message}`]);
  }
  const documents = [sum((t) => t.documents.train), sum((t) => t.documents.validation), sum((t) => t.documents.test)];
  facts.push(["tasks", `${data.tasks.length}, with ${documents.join(" / ")} documents (train / validation / test)`]);
  facts.push(["τ", [...new Set(results.trials.map(({ tau }) => formatTau(tau)))].join(", ")]);
  facts.push(["seeds", [...new Set(results.trials.map(({ seed }) => seed))].join(", ")]);
  facts.push(["data hash", data.hash.slice(0, 12)], ["model hash", model.hash.slice(0, 12)]);
  const versions = Object.entries(results.versions).map(([name, version]) => `${name} ${version}`);
  if (versions.length > 0) facts.push(["versions", versions.sort().join(", ")]);
  return facts;
}

/** The sweep's own pace: packs that train now, together; the time of the slowest. */
function pace(index: SweepIndex): Pick<SweepView, "tokensPerSecond" | "msLeft"> {
  const training = [...index.progress.packs.values()].filter(({ at }) => at === "training");
  const left = training.map((pack) => progress.timeLeft(index.progress, pack));
  const known = left.filter((ms) => ms !== null);
  return {
    tokensPerSecond: training.reduce((total, pack) => total + pack.tokensPerSecond, 0),
    msLeft: known.length === 0 ? null : Math.max(...known),
  };
}

export function sweepView(index: SweepIndex, known: Known): SweepView {
  const { standing, results, reason } = known;
  const { sweepId, position, plannedAtMs, lastAtMs } = index;
  const { name, maxSteps, paused, packCount, packs } = index.progress;
  const live = standing === "running" || standing === "draining" || standing === "cancelling";
  return {
    ...{ sweepId, name, standing, paused, reason, position, plannedAtMs, lastAtMs, maxSteps },
    facts: results === null ? [] : factsOf(results),
    packCount: Math.max(packCount, packs.size),
    ...(live ? pace(index) : { tokensPerSecond: 0, msLeft: null }),
    trials: trialRows(index, results),
    packs: [...packs.values()].map((pack) => packRow(index, pack)),
    taus: results === null ? [] : tauRows(results),
    tasks: results === null ? [] : taskRows(results),
    best: bestOf(results),
    base: results?.base?.test.macroPerplexity ?? null,
    sentences: results?.best == null ? [] : describeWinner(results),
    warnings: results?.warnings ?? index.progress.warnings,
  };
}

const byTau = (a: { tau: number; seed: number }, b: { tau: number; seed: number }): number =>
  a.tau === b.tau ? a.seed - b.seed : a.tau < b.tau ? -1 : 1;

/** Curves with so many points each that a page can draw all of them, and the figure of tau as far as it is known. */
export function figuresOf(index: SweepIndex, results: Results, perplexity?: Figures["perplexity"]): Figures {
  const trials = [...index.progress.trials.values()].toSorted(byTau);
  const most = Math.max(24, Math.min(400, Math.floor(pointsInAll / Math.max(1, trials.length))));
  const columns = (which: "train" | "validation") =>
    trials.flatMap(({ id, tau, seed, bestStep }) => {
      const curve = index.curves.get(id)?.[which];
      const points = which === "train" ? curve?.means(Math.floor(most / 2)) : curve?.extremes(most);
      if (points === undefined || points.length === 0) return [];
      const columns = {
        steps: points.map(({ step }) => step),
        natsPerToken: points.map(({ value }) => rounded(value)),
      };
      return [{ ...{ trial: id, tau, seed, bestStep }, ...columns }];
    });
  return {
    position: index.position,
    perplexity: perplexity ?? (results === null ? null : perplexityByTau(results, null)),
    ...{ validation: columns("validation"), train: columns("train") },
    base: index.progress.baseValidation,
  };
}

/** Five digits after the point: no figure shows more, and the answer is half as long. */
const rounded = (value: number): number => Math.round(value * 1e5) / 1e5;
