// For the command line and the controller's server: what a lab says and hears, as text, and what the trainer needs.
export { openLog, describeTrainer, clean, backup, check } from "./open-lab.js";
export { type GarbageItem } from "./collect-garbage.js";
export { makeCertificates } from "@bora/placement";
export { findPython } from "./trainer-environment.js";
export { SweepCommand, SweepOutcome, SweepStatus } from "./lab.js";
export { SweepEvent, encodeSweepEvent, decodeSweepEvent } from "./sweep-event.js";
export { GenerateRequest, GeneratedPiece, TextSource } from "./generate-request.js";
export { chooseSources, type ChosenSources, type SourceChoice } from "./choose-sources.js";
export { packMemory } from "@bora/scheduler";
export { compareResults, type Comparison } from "./compare.js";
export * as controllerApi from "./controller-api.js";
export { type SweepLog, type LoggedSweep } from "./sweep-log.js";
export { lookAtTrainers, type TrainerLook } from "./trainers.js";
export * as progress from "./progress/index.js";
