import type { AdaptOutcome, AdaptRequest } from "./adapt.js";
import type { EvaluateOutcome, EvaluateRequest } from "./evaluate.js";
import type { FewShotOutcome, FewShotRequest } from "./few-shot-curves.js";
import type { SeriesLab, SeriesOptions } from "./sweep-series.js";

/** What takes several sweeps of a folder; loaded when it is asked for. */
export interface LabWork {
  /** Fits an adapter of a new task with Theta fixed as its prior, beside the base, Theta alone and training from scratch. */
  adapt(request: AdaptRequest, options?: SeriesOptions): Promise<AdaptOutcome>;
  /** Leaves every task out in turn and adapts to it with few documents. */
  fewShotCurves(request: FewShotRequest, options?: SeriesOptions): Promise<FewShotOutcome>;
  /** Scores adapters that exist on documents. */
  evaluate(request: EvaluateRequest, options?: SeriesOptions): Promise<EvaluateOutcome>;
}

export const labWork = (lab: SeriesLab): LabWork => ({
  adapt: async (request, options) => (await import("./adapt.js")).adapt(lab, request, options),
  fewShotCurves: async (request, options) =>
    (await import("./few-shot-curves.js")).fewShotCurves(lab, request, options),
  evaluate: async (request, options) => (await import("./evaluate.js")).evaluate(lab, request, options),
});
