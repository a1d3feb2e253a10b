import { contrastTaus, heldOut, type TauContrast } from "@bora/analysis";
import { BoraError, formatTau, type DocumentRow } from "@bora/contracts";

/** One side of a comparison: the rows of a sweep's documents, and the tau whose trials are meant. */
export interface SweepAtTau {
  /** All rows of the sweep, as `lab.documents` gives them. */
  documents: readonly DocumentRow[];
  /** Prior precision in nats; Infinity: one shared adapter. */
  tau: number;
}

/** First minus second in nats per token: difference, its 95 % interval, p, standard error, and what they rest on. */
export type SweepContrast = Omit<TauContrast, "other" | "pHolm">;

/** Rows of one side, under names that cannot meet those of the other. */
function side({ documents, tau }: SweepAtTau, name: number): DocumentRow[] {
  const rows = documents.filter((row) => row.model === "task" && row.tau === tau);
  if (rows.length > 0) return rows.map((row) => ({ ...row, tau: name, trial: `${name}/${row.trial}` }));
  throw new BoraError("trial_unknown", `no trial of tau = ${formatTau(tau)} was scored in one of the sweeps`, {
    hint: "results.trials lists the taus of a sweep and their states",
  });
}

/**
 * Two sweeps on the same documents, for example of two adapter families: macro nats per token on test of the first
 * minus the second (negative: the first is better), with a 95 % interval and a p-value by paired bootstrap over
 * documents within tasks, and over seeds where both have several (docs/statistics.md). Undefined when they share no
 * seed. Throws trial_unknown for a tau that was not scored, artifact_corrupt when the documents differ.
 */
export function contrastSweeps(
  first: SweepAtTau,
  second: SweepAtTau,
  options: Parameters<typeof contrastTaus>[3] = {},
): SweepContrast | undefined {
  const data = heldOut([...side(first, 0), ...side(second, 1)], "test");
  const [contrast] = contrastTaus(data, 0, [1], options);
  if (contrast === undefined) return undefined;
  const { other: _one, pHolm: _alone, ...found } = contrast;
  return found;
}
