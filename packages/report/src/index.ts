export { replaceFile, writeReport, writeWholeReport, type WrittenReport } from "./write-report.js";
export { resultsJson } from "./results-json.js";
export { documentsParquet, readDocuments } from "./documents-parquet.js";
export { reportHtml } from "./report-html.js";
export { figureSvg, type DrawFigure } from "./draw-figure.js";
export { writeComparison, comparisonWords } from "./comparison-report.js";
export { evaluationParquet, type ScoredAdapter } from "./evaluation-parquet.js";
export { fewShot } from "./few-shot.js";
