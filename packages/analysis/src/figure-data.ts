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

/** A difference to another tau in per cent of its test perplexity: negative, the first is better. */
export interface GainAgainst {
  other: number; // tau
  percent: number;
  low: number; // 95 % interval
  high: number;
  pHolm: number; // over the tasks
}

export interface TaskGains {
  tau: number; // the best one, by validation
  others: number[]; // what it is compared with
  tasks: { name: string; trainTokens: number; testDocuments: number; against: GainAgainst[] }[]; // largest first
}

/** How the gain of `tau` over `other` goes with training size; differences in nats per token. */
export interface SizeTrend {
  tau: number;
  other: number;
  tasks: { name: string; trainTokens: number; difference: number; standardError: number }[];
  line: { slope: number; intercept: number }; // on ln(training tokens)
  slope: { low: number; high: number; p: number };
  rank: { rho: number | null; p: number | null };
}

export interface DistanceBySize {
  tau: number;
  control: boolean; // whether tau = 0 was measured
  tasks: {
    name: string;
    trainTokens: number;
    distance: number;
    independent: number | null;
    ratio: number | null;
    change: number;
  }[];
  priorMean: number; // ||dW_Theta||_F
  rank: { distance: number | null; ratio: number | null }; // Spearman's rho with training tokens
}

export interface PerplexityHeat {
  taus: number[];
  best: number | null;
  tasks: {
    name: string;
    trainTokens: number;
    cells: { tau: number; perplexity: number; percent: number }[]; // of the task's mean over the taus
  }[]; // largest first
}

export interface BestSteps {
  taus: number[];
  lastStep: number; // that any trial reached
  points: { name: string; trainTokens: number; tau: number; step: number }[]; // mean over seeds
}

export interface AdapterPicture {
  tau: number;
  seed: number;
  points: { name: string; trainTokens: number; x: number; y: number }[];
  explained: [x: number, y: number]; // shares of the variance
}
