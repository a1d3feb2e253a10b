import type { DocumentRow, SweepResults } from "@bora/contracts";
import { adapterPicture, bestSteps, distanceBySize, mappedTrial } from "./adapter-figures.js";
import { bitsPerCharacter } from "./bits-per-character.js";
import type {
  AdapterPicture,
  BestSteps,
  DistanceBySize,
  LearningCurves,
  PerplexityByTau,
  PerplexityHeat,
  SizeTrend,
  TaskGains,
} from "./figure-data.js";
import { heldOut, type HeldOut } from "./held-out.js";
import { learningCurvesOf } from "./learning-curves.js";
import { perplexityByTau } from "./perplexity-by-tau.js";
import { perplexityHeat } from "./perplexity-heat.js";
import { chooseTau, type TauChoices } from "./tau-choice.js";
import { contrastTaus, type TauContrast } from "./tau-contrasts.js";
import { sizeTrends, taskGains } from "./task-gains.js";

/** What a sweep's results say beyond themselves: one part for each figure, null where it cannot be drawn. */
export interface Findings {
  perplexity: PerplexityByTau | null;
  curves: LearningCurves | null;
  gains: TaskGains | null;
  trends: SizeTrend[];
  distances: DistanceBySize | null;
  heat: PerplexityHeat | null;
  bestSteps: BestSteps | null;
  map: AdapterPicture | null;
  choice: TauChoices | null;
  contrasts: TauContrast[]; // the best tau against every other, on test, with Holm's adjustment
  bits: { tau: number | null; macro: number | null; micro: number | null }[]; // per character, on test; null: the base model
}

/** What findings rest on beside results.json. */
export interface Evidence {
  documents: readonly DocumentRow[];
  /** Inner products of the adapters of `mappedTrial`, tasks in the order of the results. */
  gram: readonly (readonly number[])[] | null;
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

function bitsOf(results: SweepResults, documents: readonly DocumentRow[]): Findings["bits"] {
  const taus = [...new Set(results.trials.filter(({ state }) => state === "done").map(({ tau }) => tau))];
  return [...taus, null].flatMap((tau) => {
    const model = tau === null ? "base" : "task";
    const rows = documents.filter((row) => row.model === model && row.tau === tau && row.split === "test");
    if (rows.length === 0) return [];
    const { macro, micro } = bitsPerCharacter(rows);
    return { tau, macro: finite(macro), micro: finite(micro) };
  });
}

function scored(results: SweepResults, documents: readonly DocumentRow[], split: DocumentRow["split"]): HeldOut | null {
  const done = new Set(results.trials.filter(({ state }) => state === "done").map(({ id }) => id));
  const found = heldOut(
    documents.filter(({ trial }) => done.has(trial)),
    split,
  );
  return found.runs.length === 0 ? null : found;
}

/**
 * Everything that report and page show, from results and their evidence; without evidence what results.json alone can
 * say. Pure, and seeded where it draws. Throws artifact_corrupt when trials did not score the same documents.
 */
export function findings(results: SweepResults, evidence: Evidence | null): Findings {
  const documents = evidence?.documents ?? [];
  const [validation, test] = [scored(results, documents, "validation"), scored(results, documents, "test")];
  const tau = results.best?.tau;
  const known = tau !== undefined && test?.runs.some((run) => run.tau === tau) ? { tau, test } : null;
  const mapped = mappedTrial(results);
  const others = known === null ? [] : [...new Set(known.test.runs.map((run) => run.tau))].filter((own) => own !== tau);
  const contrasts = known === null ? [] : contrastTaus(known.test, known.tau, others);
  const perplexity = perplexityByTau(results, test, contrasts);
  return {
    perplexity,
    curves: learningCurvesOf(results),
    gains: known && taskGains(results, known.tau, known.test),
    trends: known === null ? [] : sizeTrends(results, known.tau, known.test),
    distances: distanceBySize(results),
    heat: perplexity && perplexityHeat(results, perplexity),
    bestSteps: bestSteps(results),
    map: mapped === null || evidence?.gram == null ? null : adapterPicture(results, mapped, evidence.gram),
    choice: (validation && test && chooseTau(validation, test)) ?? null,
    contrasts,
    bits: bitsOf(results, documents),
  };
}
