export { writeReport } from "./write-report.js";
export { resultsJson } from "./results-json.js";
export { documentsParquet } from "./documents-parquet.js";
export { reportHtml } from "./report-html.js";
export { perplexityAgainstTau } from "./figures/perplexity-against-tau.js";
