// For programs. What the command line and the controller need beside it is in controller.ts, figures in figures.ts.
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
