import { compareContrasts, type Comparison, type ContrastOptions } from "./contrast.js";
import { seedDifferences, type HeldOut } from "./held-out.js";
import { holm } from "./holm.js";

/** A tau against another: macro nats per token, the first minus `other`; negative: the first is better. */
export interface TauContrast extends Comparison {
  other: number;
  pHolm: number; // over all contrasts made together
}

/**
 * `tau` against each of `others`, over the seeds that both have and the same resamples, with Holm's adjustment over
 * them. Others that share no seed with `tau` are left out.
 */
export function contrastTaus(
  data: HeldOut,
  tau: number,
  others: readonly number[],
  options: Partial<ContrastOptions> = {},
): TauContrast[] {
  const pairs = others
    .map((other) => ({ other, differences: seedDifferences(data, tau, other) }))
    .filter(({ differences }) => differences.length > 0);
  const comparisons = compareContrasts(data, pairs, options);
  const adjusted = holm(comparisons.map(({ p }) => p));
  return comparisons.map((own, index) => ({
    other: pairs[index]?.other ?? NaN,
    ...own,
    pHolm: adjusted[index] ?? NaN,
  }));
}
