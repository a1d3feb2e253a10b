/** What the figures show, as plain rows; `tau` may be Infinity. Everything here follows from results and documents. */

/** Test perplexity at one tau, seeds averaged in nats. */
export interface PerplexityPoint {
  tau: number;
  perplexity: number;
  /** 95 % interval of the paired difference to the best tau, around this point; null where none is known. */
  band: [low: number, high: number] | null;
}

export interface PerplexityByTau {
  taus: number[]; // the grid, ascending, those without a finished trial too
  overall: PerplexityPoint[]; // macro
  tasks: { name: string; points: { tau: number; perplexity: number }[] }[];
  base: number | null; // macro, of the model without adapters
  best: number | null; // tau, by validation
}

/** Macro validation perplexity while a trial trains. */
export interface LearningCurve {
  trial: string;
  tau: number;
  seed: number;
  points: { step: number; perplexity: number }[]; // by step
  bestStep: number | null;
}

export interface LearningCurves {
  curves: LearningCurve[]; // by tau, then seed
  base: number | null; // validation, macro
}
