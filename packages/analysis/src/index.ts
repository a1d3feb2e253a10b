export { nothingLearnt, summarise, type TrialFacts } from "./summarise.js";
export { summariseEvaluation } from "./evaluation.js";
export { compareModels, type ModelComparison, type NamedModel } from "./model-comparison.js";
export { splitResult } from "./split-result.js";
export { documentRows, type ScoredTrial } from "./documents.js";
export { compareTaus, compareTasks, type TauRow, type TaskRow } from "./tau-comparison.js";
export { describeWinner } from "./winner-words.js";
export { heldOut } from "./held-out.js";
export { bitsPerCharacter } from "./bits-per-character.js";
export { contrastTaus, type TauContrast } from "./tau-contrasts.js";
export { chooseTau, type TauChoices } from "./tau-choice.js";
export { gainBySize, type GainBySize } from "./gain-by-size.js";
export { shrinkage, type Shrinkage } from "./shrinkage.js";
export { adapterMap, type AdapterMap } from "./adapter-map.js";
export { perplexityByTau } from "./perplexity-by-tau.js";
export { learningCurvesOf } from "./learning-curves.js";
export { findings, type Findings, type Evidence } from "./findings.js";
export { describeFindings } from "./findings-words.js";
export { modelName } from "./model-name.js";
export { bestTrial } from "./best-trial.js";
export { mappedTrial } from "./adapter-figures.js";
export type * from "./figure-data.js";
export {
  compareSweeps,
  type SweepComparison,
  type ComparedSweep,
  type SweepDifference,
  type SweepSide,
} from "./compare-sweeps.js";
