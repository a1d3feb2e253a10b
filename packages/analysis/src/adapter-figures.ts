import type { SweepResults, TrialResult } from "@bora/contracts";
import { adapterMap } from "./adapter-map.js";
import { mean } from "./resampling.js";
import { compare } from "./tau-order.js";
import type { AdapterPicture, BestSteps, DistanceBySize } from "./figure-data.js";
import { shrinkage } from "./shrinkage.js";
import { compareTaus } from "./tau-comparison.js";

const finite = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;
const doneAt = ({ trials }: SweepResults, tau: number): TrialResult[] =>
  trials.filter((trial) => trial.state === "done" && trial.tau === tau);

/** The best tau among those for which `usable` holds of a finished trial: the lowest on validation. */
function bestWith(results: SweepResults, usable: (trial: TrialResult) => boolean): number | null {
  const { best } = results;
  if (best !== null && doneAt(results, best.tau).some(usable)) return best.tau;
  const [first] = compareTaus(results)
    .filter(({ tau, macroValidation }) => macroValidation !== null && doneAt(results, tau).some(usable))
    .toSorted((a, b) => (a.macroValidation ?? 0) - (b.macroValidation ?? 0) || compare(b.tau, a.tau));
  return first?.tau ?? null;
}

/** Each task's mean over the seeds of a tau. */
function distancesAt(results: SweepResults, tau: number) {
  const measured = doneAt(results, tau).flatMap(({ distances }) => distances ?? []);
  if (measured.length === 0) return null;
  const of = (values: (one: (typeof measured)[number]) => readonly number[]) =>
    results.data.tasks.map((_, task) => mean(measured.map((one) => values(one)[task] ?? NaN)));
  return {
    factors: of(({ factors }) => factors),
    changes: of(({ changes }) => changes),
    priorMean: mean(measured.map(({ priorMean }) => priorMean)),
  };
}

/**
 * Distances to Theta at the best tau that has any (0 and infinity have none that mean shrinkage), beside those at
 * tau = 0. Null where no trainer measured them.
 */
export function distanceBySize(results: SweepResults): DistanceBySize | null {
  const tau = bestWith(results, ({ tau: own, distances }) => own > 0 && own < Infinity && distances !== null);
  const found = tau === null ? null : distancesAt(results, tau);
  if (tau === null || found === null) return null;
  const alone = distancesAt(results, 0);
  const tasks = results.data.tasks.map(({ name, scoredTokens }, index) => ({
    ...{ task: name, trainTokens: scoredTokens.train },
    ...{ factors: found.factors[index] ?? NaN, change: found.changes[index] ?? NaN },
  }));
  const free = results.data.tasks.flatMap(({ name }, index) =>
    alone === null ? [] : [{ task: name, factors: alone.factors[index] ?? NaN }],
  );
  const { rows, withTrainTokens } = shrinkage(tasks, free);
  const independent = new Map(free.map(({ task, factors }) => [task, factors]));
  return {
    ...{ tau, control: alone !== null, priorMean: found.priorMean },
    tasks: rows.map(({ task, trainTokens, factors, ratio, change }) => ({
      ...{ name: task, trainTokens, distance: factors, independent: independent.get(task) ?? null, ratio, change },
    })),
    rank: { distance: finite(withTrainTokens.factors.rho), ratio: finite(withTrainTokens.ratio?.rho) },
  };
}

/** At which step each task's own validation was lowest, at the ends of the grid and at the best tau. */
export function bestSteps(results: SweepResults): BestSteps | null {
  const known = results.trials.filter(({ state, taskBestSteps }) => state === "done" && taskBestSteps.length > 0);
  const taus = [...new Set(known.map(({ tau }) => tau))].toSorted(compare);
  const shown = taus.filter((tau, place) => place === 0 || place === taus.length - 1 || tau === results.best?.tau);
  const points = shown.flatMap((tau) =>
    results.data.tasks.map(({ name, scoredTokens }, task) => ({
      ...{ name, tau, trainTokens: scoredTokens.train },
      step: mean(known.filter((trial) => trial.tau === tau).map(({ taskBestSteps }) => taskBestSteps[task] ?? NaN)),
    })),
  );
  if (points.length === 0) return null;
  return { taus: shown, lastStep: Math.max(...known.map(({ steps }) => steps ?? 0)), points };
}

/** The trial whose adapters are mapped: the best one whose adapters differ. Null without distances. */
export function mappedTrial(results: SweepResults): TrialResult | null {
  const usable = ({ tau, distances }: TrialResult) => tau < Infinity && distances !== null;
  const tau = bestWith(results, usable);
  const [first] =
    tau === null
      ? []
      : doneAt(results, tau)
          .filter(usable)
          .toSorted((a, b) => a.seed - b.seed);
  return first ?? null;
}

/** Adapters of a trial in a plane, from their inner products in the order of the tasks. Null below three tasks. */
export function adapterPicture(
  results: SweepResults,
  { tau, seed }: TrialResult,
  gram: readonly (readonly number[])[],
): AdapterPicture | null {
  const { tasks } = results.data;
  if (tasks.length < 3 || gram.length !== tasks.length) return null;
  const { points, explained } = adapterMap(
    tasks.map(({ name }) => name),
    gram,
  );
  if (explained[0] === 0) return null;
  const placed = points.map(({ task, x, y }, index) => ({
    ...{ name: task, x, y, trainTokens: tasks[index]?.scoredTokens.train ?? NaN },
  }));
  return { tau, seed, points: placed, explained };
}
