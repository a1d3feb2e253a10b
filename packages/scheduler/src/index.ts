export { plan, type PlanLimits } from "./plan.js";
export { estimate, type Estimate } from "./estimate.js";
export { deviceMemory, packMemory, shareToFill, type DeviceMemory } from "./memory.js";
export {
  type SweepState,
  type TrialState,
  type TrialRecord,
  type RunRecord,
  type SweepPhase,
  type SweepOutcome,
} from "./sweep-state.js";
export { runSweep, type SweepRequest, type SweepProgress, type SweepEnd } from "./run-sweep.js";
export { type SweepDeps } from "./loop.js";
export { foldSweep } from "./fold-sweep.js";
export { Snapshots } from "./snapshot.js";
export { SweepControl, type SweepVerb } from "./sweep-control.js";
export { type RequeueSelection } from "./retry-selection.js";
export { systemClock, type Clock } from "./clock.js";
export { findInspection } from "./find-inspection.js";
export { runUses, type RunUse } from "./garbage.js";
export { asDiskError } from "./disk-error.js";
export { roomIn, waitForRoom } from "./wait-for-room.js";
