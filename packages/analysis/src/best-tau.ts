import { compare } from "./tau-order.js";

/** Macro validation nats per token of one fit. */
export interface Fit {
  tau: number;
  seed: number;
  nats: number;
}

const sweeps = 1_000; // of a fit that converges geometrically
const converged = 1e-14;

function means(fits: readonly Fit[], key: (fit: Fit) => number, value: (fit: Fit) => number): Map<number, number> {
  const sums = new Map<number, { sum: number; count: number }>();
  for (const fit of fits) {
    const { sum, count } = sums.get(key(fit)) ?? { sum: 0, count: 0 };
    sums.set(key(fit), { sum: sum + value(fit), count: count + 1 });
  }
  return new Map([...sums].map(([name, { sum, count }]) => [name, sum / count]));
}

/** Fits that share taus and seeds, directly or by way of others, for only those can be held against each other. */
function linked(fits: readonly Fit[]): Fit[][] {
  const groups: Fit[][] = [];
  for (const fit of fits) {
    const touching = groups.filter((group) => group.some(({ tau, seed }) => tau === fit.tau || seed === fit.seed));
    const rest = groups.filter((group) => !touching.includes(group));
    groups.splice(0, groups.length, ...rest, [...touching.flat(), fit]);
  }
  return groups;
}

/** Least squares of nats = tau's level + seed's effect, by turns; effects sum to 0 over the fits. */
function levels(fits: readonly Fit[]): Map<number, number> {
  let effects = new Map<number, number>();
  let found = means(
    fits,
    ({ tau }) => tau,
    ({ nats }) => nats,
  );
  for (let sweep = 0; sweep < sweeps; sweep += 1) {
    const before = found;
    effects = means(
      fits,
      ({ seed }) => seed,
      ({ nats, tau }) => nats - (before.get(tau) ?? NaN),
    );
    found = means(
      fits,
      ({ tau }) => tau,
      ({ nats, seed }) => nats - (effects.get(seed) ?? NaN),
    );
    if ([...found].every(([tau, level]) => Math.abs(level - (before.get(tau) ?? NaN)) <= converged)) break;
  }
  const drift = fits.reduce((sum, { seed }) => sum + (effects.get(seed) ?? 0), 0) / fits.length;
  return new Map([...found].map(([tau, level]) => [tau, level + drift]));
}

/**
 * A level for every tau, in macro validation nats per token: the mean over its seeds where all taus have the same ones.
 * A tau that lacks a seed is not rewarded or punished for it: seeds are hard or easy alike for all taus, and that part
 * is fitted beside them (the adjusted means of an incomplete two-way layout).
 */
export const tauLevels = (fits: readonly Fit[]): Map<number, number> =>
  new Map(linked(fits).flatMap((group) => [...levels(group)]));

/** The tau with the lowest level; of equals, up to rounding, the larger. */
export function bestTau(fits: readonly Fit[]): number | undefined {
  const found = [...tauLevels(fits)];
  const lowest = Math.min(...found.map(([, level]) => level));
  const [best] = found.filter(([, level]) => level <= lowest + 1e-12).toSorted(([a], [b]) => compare(b, a));
  return best?.[0];
}
