import type { SweepResults } from "@bora/contracts";
import { asPercent } from "./against-ends.js";
import { compare } from "./tau-order.js";
import type { GainAgainst, SizeTrend, TaskGains } from "./figure-data.js";
import { gainBySize } from "./gain-by-size.js";
import { ofTask, type HeldOut } from "./held-out.js";
import { holm } from "./holm.js";
import { contrastTaus } from "./tau-contrasts.js";

/** What the best tau is held against: both ends of the range, or of the grid where it has neither. */
export function comparators(tau: number, { runs }: HeldOut): number[] {
  const others = [...new Set(runs.map((run) => run.tau))].filter((other) => other !== tau).toSorted(compare);
  const ends = others.filter((other) => other === 0 || other === Infinity);
  return ends.length > 0 ? ends : [...new Set([others[0], others.at(-1)])].filter((other) => other !== undefined);
}

const trainTokens = ({ data }: SweepResults): Map<string, number> =>
  new Map(data.tasks.map(({ name, scoredTokens }) => [name, scoredTokens.train]));

/** Each task by itself: `tau` against others on its own test documents. Tasks with one document have no interval and are left out. */
export function taskGains(results: SweepResults, tau: number, test: HeldOut): TaskGains | null {
  const others = comparators(tau, test);
  const sizes = trainTokens(results);
  const found = test.tasks.map((span, index) => ({
    name: span.name,
    trainTokens: sizes.get(span.name) ?? NaN,
    testDocuments: span.end - span.begin,
    contrasts: contrastTaus(ofTask(test, index), tau, others).filter(({ standardError }) =>
      Number.isFinite(standardError),
    ),
  }));
  const adjusted = new Map(
    others.map((other) => {
      const ps = found.flatMap(({ contrasts }) => contrasts.filter((own) => own.other === other).map(({ p }) => p));
      return [other, holm(ps)];
    }),
  );
  const tasks = found.map(({ contrasts, ...task }) => ({
    ...task,
    against: contrasts.map(({ other, difference, low, high }): GainAgainst => ({
      ...{ other, percent: asPercent(difference), low: asPercent(low), high: asPercent(high) },
      pHolm: adjusted.get(other)?.shift() ?? NaN,
    })),
  }));
  const known = tasks.filter(({ against }) => against.length > 0);
  if (known.length === 0) return null;
  return { tau, others, tasks: known.toSorted((a, b) => b.trainTokens - a.trainTokens || (a.name < b.name ? -1 : 1)) };
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** The trends of the gains over each comparator with training size, where there are tasks enough. */
export function sizeTrends(results: SweepResults, tau: number, test: HeldOut): SizeTrend[] {
  return comparators(tau, test).flatMap((other) => {
    const found = gainBySize(test, { first: tau, second: other }, trainTokens(results));
    if (found === undefined) return [];
    const { tasks, line, slope, rank } = found;
    if (!Number.isFinite(line.slope)) return [];
    return {
      ...{ tau, other },
      tasks: tasks.map(({ task, ...own }) => ({ name: task, ...own })),
      line: { slope: line.slope, intercept: line.intercept },
      slope: { low: slope.low, high: slope.high, p: slope.p },
      rank: { rho: finite(rank.rho), p: finite(rank.p) },
    };
  });
}
