import type { TrialResult } from "@bora/contracts";
import { bestTau } from "./best-tau.js";
import { macroNats } from "./split-result.js";

/** The best tau's finished trial with the lowest macro validation perplexity; of equals the lower seed. */
export function bestTrial(trials: readonly TrialResult[]): TrialResult | null {
  const done = trials.flatMap((trial) =>
    trial.state === "done" && trial.validation !== null ? [{ trial, nats: macroNats(trial.validation) }] : [],
  );
  const tau = bestTau(done.map(({ trial, nats }) => ({ tau: trial.tau, seed: trial.seed, nats })));
  const [best] = done
    .filter(({ trial }) => trial.tau === tau)
    .toSorted((a, b) => a.nats - b.nats || a.trial.seed - b.trial.seed || (a.trial.id < b.trial.id ? -1 : 1));
  return best?.trial ?? null;
}
