import { formatTau, type SweepResults, type TrialResult } from "@bora/contracts";
import { mean } from "./resampling.js";
import { compare } from "./tau-order.js";

const named = (trials: readonly TrialResult[]): string => {
  const seeds = new Set(trials.map(({ seed }) => seed)).size > 1;
  return trials.map(({ tau, seed }) => `tau = ${formatTau(tau)}${seeds ? ` (seed ${seed})` : ""}`).join(", ");
};

function stepLimit(trials: readonly TrialResult[]): string[] {
  const limited = trials.filter((trial) => trial.state === "done" && trial.ended === "limit");
  if (limited.length === 0) return [];
  const trained = Math.max(...limited.map(({ steps }) => steps ?? 0));
  return [
    `${named(limited)} ended at the step limit (${trained} steps) while validation might still have improved, so the ` +
      `comparison may be one of speed: raise train.maxSteps`,
  ];
}

function edge(trials: readonly TrialResult[], best: SweepResults["best"]): string[] {
  const grid = [...new Set(trials.map(({ tau }) => tau))].toSorted(compare);
  if (best === null || best.tau === 0 || best.tau === Infinity) return [];
  const lowest = best.tau === grid[0];
  if (!lowest && best.tau !== grid.at(-1)) return [];
  const [beyond, end] = lowest ? ["smaller", "0"] : ["larger", "inf"];
  return [
    `the best tau, ${formatTau(best.tau)}, is at the edge of the grid: add ${beyond} ones, or ${end}, to prior.taus`,
  ];
}

function worseThanBase(trials: readonly TrialResult[], base: SweepResults["base"]): string[] {
  const reference = base?.validation.macroPerplexity ?? Infinity;
  const worse = trials.filter(
    (trial) => trial.state === "done" && (trial.validation?.macroPerplexity ?? 0) >= reference,
  );
  if (worse.length === 0) return [];
  return [
    `${named(worse)} did not beat the base model on validation (${reference.toFixed(1)}): lower train.learningRate`,
  ];
}

function unfinished(trials: readonly TrialResult[]): string[] {
  return trials
    .filter(({ state }) => state !== "done")
    .map((trial) => {
      const why = trial.failure === null ? "" : ` (${trial.failure.code}: ${trial.failure.message})`;
      return `${named([trial])}, seed ${trial.seed}, is ${trial.state.replace("_", " ")}${why}: its row is empty`;
    });
}

/** The bootstrap resamples documents and, where there are several, seeds: with one seed half of the noise is unseen. */
function oneSeed(trials: readonly TrialResult[], best: SweepResults["best"]): string[] {
  const seeds = new Set(trials.map(({ seed }) => seed)).size;
  if (best === null || best.against.length === 0 || seeds > 1) return [];
  return [
    "one seed: the intervals say how the difference varies with the held-out documents, not from one training to the " +
      "next; add seeds to train.seeds",
  ];
}

/** A tau without some seed is compared by what the seeds it shares with others tell. */
function unequalSeeds(trials: readonly TrialResult[]): string[] {
  const done = trials.filter(({ state }) => state === "done");
  const seeds = new Set(done.map(({ seed }) => seed));
  const taus = [...new Set(done.map(({ tau }) => tau))];
  const lacking = taus.filter(
    (tau) => new Set(done.filter((own) => own.tau === tau).map(({ seed }) => seed)).size < seeds.size,
  );
  if (lacking.length === 0) return [];
  return [
    `${lacking.length} of ${taus.length} taus lack a seed that others have (${lacking.map(formatTau).join(", ")}): the best tau ` +
      "is chosen by means adjusted for the seeds, the table shows plain ones",
  ];
}

/** The documents of a task vary among themselves; of a single one nobody can tell how much. */
function loneDocuments({ tasks }: SweepResults["data"]): string[] {
  const lone = tasks.filter(({ documents }) => documents.test === 1).length;
  if (lone === 0) return [];
  return [
    `${lone} of ${tasks.length} tasks have one test document: what varies there the intervals cannot show; add ` +
      "documents, or raise the test share in data.split.fractions",
  ];
}

const ONE_STEP_SHARE = 0.1; // of the gain over tau = 0, from which a reader should know

/** Macro nats on the documents read while training, at the trial's own best step, and what one step for all costs there. */
function whileTraining({ learning, oneStepCost }: TrialResult): { nats: number; cost: number } | null {
  if (oneStepCost === null || learning.natsPerToken.length === 0) return null;
  return { nats: Math.min(...learning.natsPerToken), cost: oneStepCost };
}

/**
 * All tasks of a trial are kept at one step. Tasks that share nothing differ most in when they are best, so this weighs
 * on tau = 0 more than on a tau that ties them, and flatters the gain of sharing.
 */
function oneStepForAll(trials: readonly TrialResult[], best: SweepResults["best"]): string[] {
  if (best === null || best.tau === 0) return [];
  const pairs = trials.flatMap((tied) => {
    const alone = trials.find(({ tau, seed }) => tau === 0 && seed === tied.seed);
    if (tied.tau !== best.tau || alone === undefined) return [];
    const [one, other] = [whileTraining(alone), whileTraining(tied)];
    return one === null || other === null ? [] : [{ gain: one.nats - other.nats, due: one.cost - other.cost }];
  });
  if (pairs.length === 0) return [];
  const [gain, due] = [mean(pairs.map((pair) => pair.gain)), mean(pairs.map((pair) => pair.due))];
  if (gain <= 0 || due <= ONE_STEP_SHARE * gain) return [];
  const [own, tau] = [gain - due, formatTau(best.tau)];
  return [
    `all tasks of a trial are kept at one step, which suits tau = 0 least: on the validation documents read while training, ` +
      `tau = ${tau} is ${gain.toFixed(3)} nats per token lower than tau = 0, and would be ${Math.abs(own).toFixed(3)} ` +
      `${own < 0 ? "higher" : "lower"} were each task kept at its own best step; tau = 0 by itself with train.bestStep task ` +
      "shows on test what that does for it",
  ];
}

/** What a reader of the numbers must know before trusting them. */
export function resultWarnings(
  results: Pick<SweepResults, "trials" | "best" | "base" | "data">,
  ofData: readonly string[],
): string[] {
  const { trials, best, base, data } = results;
  return [
    ...ofData,
    ...unfinished(trials),
    ...stepLimit(trials),
    ...worseThanBase(trials, base),
    ...edge(trials, best),
    ...oneStepForAll(trials, best),
    ...oneSeed(trials, best),
    ...unequalSeeds(trials),
    ...loneDocuments(data),
  ];
}

/** What to know about the precision that the frozen base computed in. */
export function dtypeWarnings({
  dtypes,
  float32Check,
}: {
  dtypes: readonly string[];
  float32Check: boolean;
}): string[] {
  const distinct = [...new Set(dtypes)].toSorted();
  const mixed =
    distinct.length > 1
      ? [`trials ran in ${distinct.join(" and ")}: differences between them are partly rounding; set model.dtype`]
      : [];
  const idle =
    float32Check && distinct.includes("float32")
      ? [
          "evaluate.float32Check has no figure: the base ran in float32 already, or the check failed (child.log says why)",
        ]
      : [];
  return [...mixed, ...idle];
}
