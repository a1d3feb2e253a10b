import { normalCdf, normalQuantile, studentQuantile } from "./distributions.js";
import type { Spread } from "./jackknife.js";
import { mean } from "./resampling.js";

/** How the fractions of the replicates are shifted: both 0 give the percentile interval. */
export interface Shift {
  bias: number; // z0
  acceleration: number;
}
export const noShift: Shift = { bias: 0, acceleration: 0 };

/** A statistic and its sorted replicates. */
export interface Bootstrap {
  estimate: number;
  sorted: Float64Array;
  shift: Shift;
  /** Widens the distances to the estimate for two tails that hold `alpha` together; 1 = as the replicates have it. */
  stretch: (alpha: number) => number;
}

/** Value at a fraction of sorted numbers, between neighbours linearly (Hyndman and Fan's type 7, NumPy's default). */
export function quantile(sorted: Float64Array, fraction: number): number {
  const at = fraction * (sorted.length - 1);
  const below = sorted[Math.floor(at)] ?? NaN;
  return below + (at - Math.floor(at)) * ((sorted[Math.ceil(at)] ?? NaN) - below);
}

/** Bias correction z0 of BCa: the estimate's place among its sorted replicates, equal ones counted half. */
export function biasCorrection(estimate: number, sorted: Float64Array): number {
  const below = sorted.findIndex((value) => value >= estimate);
  const above = sorted.findLastIndex((value) => value <= estimate);
  const place = ((below < 0 ? sorted.length : below) + above + 1) / 2;
  const edge = 0.5 / sorted.length; // outside all replicates z0 would be infinite
  return normalQuantile(Math.min(Math.max(place / sorted.length, edge), 1 - edge));
}

/** The fraction that BCa takes in place of `fraction`. */
export function shifted(fraction: number, { bias, acceleration }: Shift): number {
  const z = bias + normalQuantile(fraction);
  const slope = 1 - acceleration * z;
  if (slope <= 0) return acceleration > 0 ? 1 : 0; // past the pole of the transformation
  return normalCdf(bias + z / slope);
}

/**
 * Stretches replicates to a standard error that is free of the bootstrap's bias (documents within a task vary by
 * (n - 1) / n too little, crossed seeds by more or less), and the normal's tails to Student's t.
 */
export function stretchTo({ standardError, degreesOfFreedom }: Spread, replicates: Float64Array): Bootstrap["stretch"] {
  const middle = mean(replicates);
  const variance = replicates.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (replicates.length - 1);
  if (!(variance > 0) || !(degreesOfFreedom > 0)) return () => 1;
  const ratio = standardError / Math.sqrt(variance);
  return (alpha) => (ratio * studentQuantile(alpha / 2, degreesOfFreedom)) / normalQuantile(alpha / 2);
}

/** The interval that leaves `alpha` / 2 on each side. */
export function interval({ estimate, sorted, shift, stretch }: Bootstrap, alpha: number): [low: number, high: number] {
  const factor = stretch(alpha);
  const bound = (fraction: number) => estimate + factor * (quantile(sorted, shifted(fraction, shift)) - estimate);
  return [bound(alpha / 2), bound(1 - alpha / 2)];
}

/**
 * Two-sided p: the smallest alpha whose interval leaves 0 out, so that test and interval never disagree. Not below
 * 2 / (replicates + 1), the least that so many can show.
 */
export function twoSidedP(bootstrap: Bootstrap): number {
  const least = 2 / (bootstrap.sorted.length + 1);
  const leavesOut = (alpha: number): boolean => {
    const [low, high] = interval(bootstrap, alpha);
    return low > 0 || high < 0;
  };
  if (leavesOut(least)) return least;
  let [inside, outside] = [least, 1 - 1e-9];
  if (!leavesOut(outside)) return 1;
  while (outside / inside > 1 + 1e-9) {
    const middle = Math.sqrt(inside * outside);
    if (leavesOut(middle)) outside = middle;
    else inside = middle;
  }
  return outside;
}
