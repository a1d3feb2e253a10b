import { studentTwoSided } from "./distributions.js";
import { dot, total } from "./held-out.js";

/** A straight line fitted by weighted least squares. */
export interface WeightedLine {
  slope: number;
  intercept: number;
  standardError: number; // of the slope, with the scale estimated from the residuals
  degreesOfFreedom: number;
  p: number; // two-sided, of no slope
}

const ROUNDING = 1e-24;

const sumOf = (values: Float64Array, of: (value: number, index: number) => number): number =>
  values.reduce((sum, value, index) => sum + of(value, index), 0);

/** What each y contributes to the slope: slope = sum of coefficient times y. Sums to 0. NaN where all x are equal. */
export function slopeCoefficients(x: Float64Array, weights: Float64Array): Float64Array {
  const middle = dot(x, weights) / total(weights);
  const leverage = weights.map((weight, index) => weight * ((x[index] ?? NaN) - middle));
  const squares = sumOf(leverage, (value, index) => value * ((x[index] ?? NaN) - middle));
  // Of equal x the middle is not exactly theirs: what rounding leaves is no spread.
  const rounding = ROUNDING * sumOf(x, (value, index) => (weights[index] ?? NaN) * value ** 2);
  return leverage.map((value) => (squares > rounding ? value / squares : NaN));
}

/** Minimises sum of weight (y - intercept - slope x)^2. NaN where all x are equal. */
export function weightedLine(x: Float64Array, y: Float64Array, weights: Float64Array): WeightedLine {
  const slope = dot(slopeCoefficients(x, weights), y);
  const all = total(weights);
  const middle = (values: Float64Array) => dot(values, weights) / all;
  const intercept = middle(y) - slope * middle(x);
  const degreesOfFreedom = x.length - 2;
  const residual = (index: number) => (y[index] ?? NaN) - intercept - slope * (x[index] ?? NaN);
  const scale = sumOf(weights, (weight, index) => weight * residual(index) ** 2) / degreesOfFreedom;
  const squares = sumOf(weights, (weight, index) => weight * ((x[index] ?? NaN) - middle(x)) ** 2);
  const standardError = Math.sqrt(scale / squares);
  const p = studentTwoSided(slope / standardError, degreesOfFreedom);
  return { slope, intercept, standardError, degreesOfFreedom, p };
}
