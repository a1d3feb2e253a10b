export { parseTau, tauToJson, formatTau, tauSchema, type Tau, type TauJson } from "./tau.js";
export { isLoopback, readPem, type TransportTls } from "./transport-tls.js";
export { formatBytes } from "./bytes.js";
export {
  BoraError,
  toBoraError,
  isErrorCode,
  isMissing,
  errorDomains,
  type ErrorCode,
  type ErrorDomain,
} from "./errors.js";
export { ModelSpec, type ExperimentInput, type ExperimentSpec } from "./experiment.js";
export {
  parseExperiment,
  readExperiment,
  overrideExperiment,
  experimentJsonSchema,
  type ExperimentOverrides,
} from "./experiment-file.js";
export {
  Adaptation,
  Evaluation,
  FewShotCurves,
  type CurvePoint,
  type ModelDifference,
  type ModelLevel,
} from "./adaptation.js";
export { parseWith } from "./parse-with.js";
export { contentHash } from "./canonical.js";
export { Inspected, inspectedFromProto } from "./inspected.js";
export {
  Plan,
  Pack,
  PlannedTrial,
  type TrialOutcome,
  ControlEvent,
  encodeControlEvent,
  decodeControlEvent,
  controlStream,
} from "./control-event.js";
export { SweepResults, TrialResult, TrialDistances, SplitResult, EndComparison, type DocumentRow } from "./results.js";
export { modelSource, runBase, adapterFolders, folderHash, type RunBase } from "./to-proto.js";
export * as wire from "./wire.js";
