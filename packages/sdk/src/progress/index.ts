export { advance, noProgress, timeLeft, type Progress, type PackProgress, type TrialProgress } from "./state.js";
export { eventLine } from "./lines.js";
export { duration, many, nats, perplexity, short } from "./words.js";
