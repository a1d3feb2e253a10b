import { bestTau } from "./best-tau.js";
import type { ContrastOptions } from "./contrast.js";
import { taskRates, type HeldOut } from "./held-out.js";
import { mean } from "./resampling.js";
import { contrastTaus, type TauContrast } from "./tau-contrasts.js";

/** A tau, what chose it on validation, and what it is worth on test. */
export interface TauChoice {
  tau: number;
  seeds: number;
  validation: number; // macro nats per token, mean over seeds
  test: number;
  against: TauContrast[]; // on test, tau = 0 and tau = inf where they are others
}

export interface TauChoices {
  best: TauChoice; // lowest on validation
  oneStandardError: TauChoice; // the most sharing that validation does not tell from it
}

/** Macro nats per token of a tau, mean over its seeds. */
function macroNats(data: HeldOut, tau: number): number {
  const runs = data.runs.filter((run) => run.tau === tau);
  return runs.reduce((sum, { nats }) => sum + mean(taskRates(data, nats)), 0) / runs.length;
}

function choice(tau: number, validation: HeldOut, test: HeldOut, options: Partial<ContrastOptions>): TauChoice {
  const ends = [0, Infinity].filter((end) => end !== tau);
  return {
    tau,
    seeds: validation.runs.filter((run) => run.tau === tau).length,
    validation: macroNats(validation, tau),
    test: macroNats(test, tau),
    against: contrastTaus(test, tau, ends, options),
  };
}

/**
 * Chooses tau on validation by two rules: the lowest macro nats per token (`bestTau`), and the one-
 * standard-error rule: the largest tau, so the most sharing and the fewest effective parameters, whose difference to
 * the best is at most one standard error of that paired difference, where there is one. Test numbers are read for what was chosen, never
 * to choose. Undefined when nothing was scored.
 */
export function chooseTau(
  validation: HeldOut,
  test: HeldOut,
  options: Partial<ContrastOptions> = {},
): TauChoices | undefined {
  const taus = [...new Set(validation.runs.map(({ tau }) => tau))];
  const best = bestTau(
    validation.runs.map(({ tau, seed, nats }) => ({ tau, seed, nats: mean(taskRates(validation, nats)) })),
  );
  if (best === undefined) return undefined;
  const larger = taus.filter((tau) => tau > best);
  const close = contrastTaus(validation, best, larger, options)
    .filter(({ difference, standardError }) => Number.isFinite(standardError) && -difference <= standardError)
    .map(({ other }) => other);
  const simplest = Math.max(best, ...close);
  const chosen = choice(best, validation, test, options);
  return {
    best: chosen,
    oneStandardError: simplest === best ? chosen : choice(simplest, validation, test, options),
  };
}
