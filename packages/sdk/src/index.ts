/**
 * What a program needs: a lab to plan, sweep and read results with, and the comparisons on top of them. Figures have a
 * door of their own, `@bora/sdk/figures`.
 *
 * @module sdk
 */
export { openLab, type LabFolder, type LabOptions } from "./open-lab.js";
export type { Lab, SweepCommand, SweepHandle, SweepOptions, SweepOutcome, SweepStatus } from "./lab.js";
export { type CallOptions } from "./abortable.js";
export { type Preview } from "./preview.js";
export { type SweepEvent } from "./sweep-event.js";
export { contrastSweeps, type SweepAtTau, type SweepContrast } from "./contrast-sweeps.js";
export { chooseTau, compareTaus, contrastTaus, heldOut } from "@bora/analysis";
export {
  BoraError,
  readExperiment,
  type DocumentRow,
  type ErrorCode,
  type ExperimentInput,
  type SweepResults,
} from "@bora/contracts";
