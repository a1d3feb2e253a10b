export { openLab, describeTrainer, type LabFolder, type LabOptions } from "./open-lab.js";
export { makeCertificates } from "@bora/placement";
export { findPython } from "./trainer-environment.js";
export {
  SweepCommand,
  SweepOutcome,
  SweepStatus,
  type Lab,
  type SweepHandle,
  type SweepOptions,
} from "./lab.js";
export { type CallOptions } from "./abortable.js";
export { type Preview } from "./preview.js";
export { SweepEvent, encodeSweepEvent, decodeSweepEvent } from "./sweep-event.js";
export { packMemory } from "@bora/scheduler";
export { compareResults, type Comparison } from "./compare.js";
export * as controllerApi from "./controller-api.js";
