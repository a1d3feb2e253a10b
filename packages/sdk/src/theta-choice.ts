import { BoraError, formatTau, type SweepResults, type TrialResult } from "@bora/contracts";

/** The tau around Theta, the trial that Theta is of, and why. */
export interface ThetaChoice {
  tau: number;
  trial: TrialResult;
  words: string;
}

type Scored = TrialResult & { validation: NonNullable<TrialResult["validation"]> };
const isScored = (trial: TrialResult): trial is Scored => trial.state === "done" && trial.validation !== null;

const byValue = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
const macroNats = ({ validation }: Scored): number => Math.log(validation.macroPerplexity);
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Macro validation nats of each tau above 0, mean over seeds; best first, of equals the larger tau. */
function ranked(trials: readonly Scored[]): { tau: number; trials: Scored[]; nats: number }[] {
  const taus = [...new Set(trials.map(({ tau }) => tau))].filter((tau) => tau > 0);
  return taus
    .map((tau) => ({ tau, trials: trials.filter((trial) => trial.tau === tau) }))
    .map((one) => ({ ...one, nats: mean(one.trials.map(macroNats)) }))
    .toSorted((a, b) => a.nats - b.nats || byValue(b.tau, a.tau));
}

const best = (trials: readonly Scored[]): Scored | undefined =>
  trials.toSorted((a, b) => macroNats(a) - macroNats(b) || a.seed - b.seed)[0];

const unknownTau = (sweepId: string, tau: number | "auto", taus: readonly number[]): BoraError => {
  const there = taus.length === 0 ? "none" : taus.map(formatTau).join(", ");
  const wanted = tau === "auto" ? "a tau above 0" : `tau = ${formatTau(tau)}`;
  return new BoraError("trial_unknown", `sweep ${sweepId} has no finished trial of ${wanted}; there are ${there}`, {
    hint: "at tau = 0 nothing ties Theta to the tasks: name one of the others with --tau, or leave it at auto",
  });
};

/**
 * Which tau: the one that was named, or the best on validation among those above 0 (at 0 the tasks share no Theta), and
 * with `finite` among the finite ones where there is one. Of several seeds the best one's Theta. Throws trial_unknown.
 */
export function chooseTheta(results: SweepResults, tau: number | "auto", { finite = false } = {}): ThetaChoice {
  const order = ranked(results.trials.filter(isScored));
  const taus = order.map((one) => one.tau).toSorted(byValue);
  const [first] = order;
  const chosen =
    tau === "auto"
      ? ((finite ? order.find((one) => one.tau < Infinity) : undefined) ?? first)
      : order.find((one) => one.tau === tau);
  const trial = best(chosen?.trials ?? []);
  if (chosen === undefined || first === undefined || trial === undefined) throw unknownTau(results.sweepId, tau, taus);
  if (tau !== "auto") return { tau, trial, words: "as asked for" };
  return { tau: chosen.tau, trial, words: autoWords(results, chosen.tau, first.tau) };
}

function autoWords(results: SweepResults, tau: number, first: number): string {
  const overall = results.best?.tau;
  if (tau !== first)
    return `best finite tau by validation; at inf, which is best of all, a new task's adapter is Theta itself`;
  if (overall === 0) return "best tau above 0 by validation; tau = 0, best of all, has no Theta that tasks share";
  return "best by validation";
}
