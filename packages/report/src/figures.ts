export { perplexityAgainstTau } from "./figures/perplexity-against-tau.js";
export { learningCurves } from "./figures/learning-curves.js";
export { type FigureOptions } from "./figures/sheet.js";
export { reviveTaus } from "./figures/revive-taus.js";
