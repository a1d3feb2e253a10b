export { summarise, type SweepFacts, type TrialFacts } from "./summarise.js";
export { documentRows, type ScoredTrial } from "./documents.js";
export { compareTaus, compareTasks, type TauRow, type TaskRow } from "./tau-comparison.js";
export { describeWinner } from "./winner-words.js";
export { pairedBootstrap, type PairedTask, type Interval } from "./paired-bootstrap.js";
