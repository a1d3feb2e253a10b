export { openLab, describeTrainer, clean, backup, check, type LabOptions } from "./open-lab.js";
export { type GarbageItem } from "./collect-garbage.js";
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
export { SweepEvent, encodeSweepEvent, decodeSweepEvent } from "./sweep-event.js";
export { packMemory } from "@bora/scheduler";
export { compareResults, type Comparison } from "./compare.js";
export * as controllerApi from "./controller-api.js";
