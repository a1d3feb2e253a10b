/**
 * What leaving one unit out says of an estimate: standard error, degrees of freedom, and the acceleration of BCa. A
 * unit is a document within its task where the claim is about these tasks, and a task where it is about new ones.
 * Shapes: S seeds, U units.
 */
import { total, type HeldOut } from "./held-out.js";
import { mean } from "./resampling.js";

/** Units that are exchangeable among each other: from `begin` to before `end`. */
export interface Stratum {
  begin: number;
  end: number;
}

/** For each seed, the estimate without a unit minus the mean of those of its stratum, [S][U]. 0 in a stratum of one. */
export interface Deviations {
  strata: readonly Stratum[];
  bySeed: readonly Float64Array[];
  parameters?: number; // estimated within a stratum; left out: 1, its mean
}

export interface Spread {
  standardError: number;
  degreesOfFreedom: number; // Satterthwaite
}

/** A sum over tasks of weight times nats per token, without each document: what its task then adds, [document]. */
export function withoutDocument(
  { tasks, tokens }: Pick<HeldOut, "tasks" | "tokens">,
  nats: Float64Array,
  weights: Float64Array,
): Float64Array {
  const estimates = new Float64Array(nats.length);
  for (const [task, { begin, end }] of tasks.entries()) {
    const [allNats, allTokens] = [total(nats, begin, end), total(tokens, begin, end)];
    for (let document = begin; document < end; document += 1) {
      const rest = (allNats - (nats[document] ?? NaN)) / (allTokens - (tokens[document] ?? NaN));
      estimates[document] = (weights[task] ?? NaN) * rest;
    }
  }
  return estimates;
}

/** A mean without each of its values. */
export const withoutValue = (values: Float64Array): Float64Array => {
  const all = total(values);
  return values.map((value) => (all - value) / (values.length - 1));
};

/** Turns estimates without a unit, [U], into deviations from their stratum's mean, in place. */
export function centre(estimates: Float64Array, strata: readonly Stratum[]): Float64Array {
  for (const { begin, end } of strata) {
    const own = estimates.subarray(begin, end);
    const middle = mean(own);
    for (let unit = 0; unit < own.length; unit += 1) own[unit] = own.length === 1 ? 0 : (own[unit] ?? NaN) - middle;
  }
  return estimates;
}

const power = (values: Float64Array, exponent: number): number =>
  values.reduce((sum, value) => sum + value ** exponent, 0);

function seedAverage(bySeed: readonly Float64Array[]): Float64Array {
  const [first = new Float64Array()] = bySeed;
  return first.map((_, unit) => bySeed.reduce((sum, own) => sum + (own[unit] ?? NaN), 0) / bySeed.length);
}

/** (n - 1) / n times the sum of squares, for each stratum: the jackknife's variances, which add up. */
const strataVariances = (deviations: Float64Array, strata: readonly Stratum[]): number[] =>
  strata.map(({ begin, end }) => ((end - begin - 1) / (end - begin)) * power(deviations.subarray(begin, end), 2));

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);

/** Satterthwaite's degrees of freedom of a variance; none where nothing varies. */
const of = (variance: number, squares: number): Spread => ({
  standardError: Math.sqrt(variance),
  degreesOfFreedom: variance === 0 ? 0 : variance ** 2 / squares,
});

/**
 * Standard error of an estimate that is a mean over seeds, `estimates` [S], each of the same units. Units and seeds are
 * crossed, so both variances hold that of their interaction: it is taken off once (method of moments for a two-way
 * random-effects layout). With one seed it is the jackknife's over units alone.
 */
export function spread({ strata, bySeed, parameters = 1 }: Deviations, estimates: Float64Array): Spread {
  const seeds = bySeed.length;
  const average = seedAverage(bySeed);
  const ofUnits = strataVariances(average, strata);
  const units = sum(ofUnits);
  const squares = ofUnits.map((variance, index) => {
    const { begin, end } = strata[index] ?? { begin: 0, end: 0 };
    return variance === 0 ? 0 : variance ** 2 / (end - begin - parameters);
  });
  if (seeds === 1) return of(units, sum(squares));
  const middle = mean(estimates);
  const ofSeeds =
    power(
      estimates.map((value) => value - middle),
      2,
    ) /
    (seeds - 1) /
    seeds;
  const interaction =
    sum(
      bySeed.map((own) =>
        sum(
          strataVariances(
            own.map((value, unit) => value - (average[unit] ?? NaN)),
            strata,
          ),
        ),
      ),
    ) /
    ((seeds - 1) * seeds);
  // Moments can say less than one of the parts; no part is below 0.
  const variance = Math.max(units + ofSeeds - interaction, units, ofSeeds);
  return of(variance, sum(squares) + ofSeeds ** 2 / (seeds - 1));
}

/** Acceleration of BCa over strata (Efron 1987; Davison and Hinkley 1997, section 5.3), of the mean over seeds. */
export function acceleration({ strata, bySeed }: Deviations): number {
  const average = seedAverage(bySeed);
  let cubes = 0;
  let squares = 0;
  for (const { begin, end } of strata) {
    const ratio = (end - begin - 1) / (end - begin);
    const own = average.subarray(begin, end);
    cubes -= ratio ** 3 * power(own, 3);
    squares += ratio ** 2 * power(own, 2);
  }
  return squares === 0 ? 0 : cubes / (6 * squares ** 1.5);
}
