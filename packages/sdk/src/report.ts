/**
 * Figures as SVG text, and whole reports, through `@bora/sdk/report`. Drawing loads a DOM and a plotting library: who
 * draws nothing loads neither.
 *
 * @module report
 */
export { figureSvg } from "@bora/report";
export { perplexityAgainstTau, learningCurves } from "@bora/report/figures";
export { perplexityByTau, learningCurvesOf } from "@bora/analysis";
export { type SweepPlace, type StoredSweep, readPlace } from "./read-sweep.js";
export { reportSweep, type SweepReport } from "./report-sweep.js";
export { compareStoredSweeps, type WrittenComparison } from "./compare-stored-sweeps.js";
