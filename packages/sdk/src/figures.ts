/**
 * Figures as SVG text, through `@bora/sdk/figures`. Drawing loads a DOM and a plotting library: who draws nothing loads
 * neither.
 *
 * @module figures
 */
export { perplexityAgainstTau } from "@bora/report";
