export { openLab, openLog, describeTrainer, type LabFolder, type LabOptions } from "./open-lab.js";
export { makeCertificates } from "@bora/placement";
export { type SweepLog, type LoggedSweep } from "./sweep-log.js";
export { lookAtTrainers, type TrainerLook } from "./trainers.js";
export { findPython } from "./trainer-environment.js";
export {
  SweepCommand,
  SweepOutcome,
  SweepStatus,
  type Lab,
  type Preview,
  type SweepHandle,
  type SweepOptions,
} from "./lab.js";
export type { LabWork } from "./lab-work.js";
export type { AdaptOutcome, AdaptRequest } from "./adapt.js";
export type { EvaluateOutcome, EvaluateRequest } from "./evaluate.js";
export type { FewShotOutcome, FewShotRequest } from "./few-shot-curves.js";
export type { SeriesOptions } from "./sweep-series.js";
export { SweepEvent, encodeSweepEvent, decodeSweepEvent } from "./sweep-event.js";
export { packMemory } from "@bora/scheduler";
export { compareResults, type Comparison } from "./compare.js";
export * as controllerApi from "./controller-api.js";
export { type SweepPlace, type StoredSweep, readPlace } from "./read-sweep.js";
export { reportSweep, type SweepReport } from "./report-sweep.js";
export { compareStoredSweeps, type WrittenComparison } from "./compare-stored-sweeps.js";
export { GenerateRequest, GeneratedPiece, TextSource, type GenerateOptions } from "./generate-request.js";
export { type Exported, type ExportedAdapter, type ExportRequest } from "./export/export-request.js";
export { chooseSources, type ChosenSources, type SourceChoice } from "./choose-sources.js";
export * as progress from "./progress/index.js";
