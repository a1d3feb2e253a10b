export { summarise, type TrialFacts } from "./summarise.js";
export { documentRows, type ScoredTrial } from "./documents.js";
export { compareTaus, compareTasks, type TauRow, type TaskRow } from "./tau-comparison.js";
export { describeWinner } from "./winner-words.js";
export { heldOut } from "./held-out.js";
export { contrastTaus, type TauContrast } from "./tau-contrasts.js";
export { gainBySize, type GainBySize } from "./gain-by-size.js";
export { chooseTau, type TauChoices } from "./tau-choice.js";
export { shrinkage, type Shrinkage } from "./shrinkage.js";
