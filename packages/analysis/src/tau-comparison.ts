import type { SplitResult, SweepResults, TrialResult } from "@bora/contracts";
import { compare } from "./tau-order.js";
import { macroNats } from "./split-result.js";

/** One line of the final table; numbers are null while no trial of this tau is done. */
export interface TauRow {
  tau: number;
  seeds: number; // finished
  states: TrialResult["state"][]; // of this tau's trials
  macroValidation: number | null; // perplexities, means over seeds of nats per token
  macroTest: number | null;
  microTest: number | null;
  priorMeanMacroTest: number | null; // Theta alone
  againstIndependent: number | null; // per cent of macro test perplexity; null when tau = 0 is not there
  againstShared: number | null;
  best: boolean;
}

/** One line of the table that shows where sharing pays. Perplexities on the test split, means over seeds of nats per token. */
export interface TaskRow {
  name: string;
  trainDocuments: number;
  base: number | null;
  independent: number | null; // tau = 0
  best: number | null; // the best tau
  shared: number | null; // tau = inf
  againstIndependent: number | null; // per cent, best tau against tau = 0
  againstShared: number | null;
}

const meanPerplexity = (nats: readonly number[]): number | null =>
  nats.length === 0 ? null : Math.exp(nats.reduce((total, value) => total + value, 0) / nats.length);

const percent = (value: number | null, reference: number | null): number | null =>
  value === null || reference === null ? null : 100 * (value / reference - 1);

const finished = (results: SweepResults, tau: number): TrialResult[] =>
  results.trials.filter((trial) => trial.tau === tau && trial.state === "done");

const present = <T>(values: readonly (T | null | undefined)[]): T[] =>
  values.filter((value): value is T => value !== null && value !== undefined);

const taskNats = (split: SplitResult | null, name: string): number | null => {
  const task = split?.tasks.find((candidate) => candidate.name === name);
  return task === undefined ? null : task.nats / task.tokens;
};

/** The final table: a row for each tau of the grid, ascending. */
export function compareTaus(results: SweepResults): TauRow[] {
  const test = (tau: number): number | null =>
    meanPerplexity(present(finished(results, tau).map((trial) => trial.test)).map(macroNats));
  const [independent, shared] = [test(0), test(Infinity)];
  const taus = [...new Set(results.trials.map(({ tau }) => tau))].toSorted(compare);
  return taus.map((tau) => {
    const done = finished(results, tau);
    const macroTest = test(tau);
    const tests = present(done.map((trial) => trial.test));
    return {
      tau,
      seeds: done.length,
      states: results.trials.filter((trial) => trial.tau === tau).map(({ state }) => state),
      macroValidation: meanPerplexity(present(done.map((trial) => trial.validation)).map(macroNats)),
      macroTest,
      microTest: meanPerplexity(tests.map(({ microPerplexity }) => Math.log(microPerplexity))),
      priorMeanMacroTest: meanPerplexity(present(done.map((trial) => trial.priorMean?.test)).map(macroNats)),
      againstIndependent: percent(macroTest, independent),
      againstShared: percent(macroTest, shared),
      best: tau === results.best?.tau,
    };
  });
}

/** Where sharing pays: each task at tau = 0, at the best tau and at tau = inf, largest training set first. */
export function compareTasks(results: SweepResults): TaskRow[] {
  const rows = results.data.tasks.map(({ name, documents }) => {
    const at = (tau: number | undefined): number | null =>
      tau === undefined
        ? null
        : meanPerplexity(present(finished(results, tau).map((trial) => taskNats(trial.test, name))));
    const [independent, best, shared] = [at(0), at(results.best?.tau), at(Infinity)];
    return {
      name,
      trainDocuments: documents.train,
      base: meanPerplexity(present([taskNats(results.base?.test ?? null, name)])),
      independent,
      best,
      shared,
      againstIndependent: percent(best, independent),
      againstShared: percent(best, shared),
    };
  });
  return rows.toSorted((a, b) => b.trainDocuments - a.trainDocuments);
}
