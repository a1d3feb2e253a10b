export { replaceFile, writeReport } from "./write-report.js";
export { resultsJson } from "./results-json.js";
export { documentsParquet } from "./documents-parquet.js";
export { reportHtml } from "./report-html.js";
export { evaluationParquet, type ScoredAdapter } from "./evaluation-parquet.js";
export { fewShot } from "./figures/few-shot.js";
export { perplexityAgainstTau } from "./figures/perplexity-against-tau.js";
