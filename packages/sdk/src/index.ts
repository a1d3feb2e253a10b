/**
 * What a program needs: a lab to plan, sweep, generate, export and read results with, and the comparisons on top of
 * them. Figures and reports have a door of their own, `@bora/sdk/report`.
 *
 * @module sdk
 */
export { openLab, type LabAddress, type LabFolder, type LabOptions } from "./open-lab.js";
export type { EventsOptions, Lab, SweepCommand, SweepHandle, SweepOptions, SweepOutcome, SweepStatus } from "./lab.js";
export { type CallOptions } from "./abortable.js";
export { type Preview } from "./preview.js";
export { type SweepEvent } from "./sweep-event.js";
export type { GenerateRequest, GeneratedPiece, GenerateOptions, TextSource } from "./generate-request.js";
export type { Exported, ExportedAdapter, ExportRequest } from "./export/export-request.js";
export { chooseTau, compareSweeps, compareTaus, contrastTaus, heldOut } from "@bora/analysis";
export {
  BoraError,
  readExperiment,
  type DocumentRow,
  type ErrorCode,
  type ExperimentInput,
  type SweepResults,
} from "@bora/contracts";
export type { LabWork } from "./lab-work.js";
export type { AdaptOutcome, AdaptRequest } from "./adapt.js";
export type { EvaluateOutcome, EvaluateRequest } from "./evaluate.js";
export type { FewShotOutcome, FewShotRequest } from "./few-shot-curves.js";
export type { SeriesOptions } from "./sweep-series.js";
