import type { EndComparison } from "@bora/contracts";
import type { HeldOut } from "./held-out.js";
import { contrastTaus } from "./tau-contrasts.js";

/** Nats per token as per cent of perplexity. */
export const asPercent = (nats: number): number => 100 * Math.expm1(nats);

/**
 * A tau's test perplexity against both ends of the grid, over the seeds that both finished, with a paired bootstrap
 * interval. An end is left out where it is that tau, shares no seed with it, or where nothing could vary.
 */
export function againstEnds(tau: number, test: HeldOut): EndComparison[] {
  return contrastTaus(
    test,
    tau,
    [0, Infinity].filter((end) => end !== tau),
  )
    .filter(({ standardError }) => Number.isFinite(standardError))
    .map(({ other, difference, low, high }) => ({
      end: other === 0 ? "independent" : "shared",
      percent: asPercent(difference),
      low: asPercent(low),
      high: asPercent(high),
      withinNoise: low <= 0 && high >= 0,
    }));
}
