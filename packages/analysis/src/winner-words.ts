import { formatTau, type EndComparison, type SweepResults } from "@bora/contracts";
import { compareTaus } from "./tau-comparison.js";

const endNames = {
  independent: "independent adapters (tau = 0)",
  shared: "one shared adapter (tau = inf)",
} as const;

const size = (percent: number): string => `${Math.abs(percent).toFixed(1)} % ${percent <= 0 ? "lower" : "higher"}`;

function interval({ low, high }: EndComparison): string {
  if (high <= 0) return `${(-high).toFixed(1)} to ${(-low).toFixed(1)} % lower`;
  if (low >= 0) return `${low.toFixed(1)} to ${high.toFixed(1)} % higher`;
  return `${(-low).toFixed(1)} % lower to ${high.toFixed(1)} % higher`;
}

const against = (comparison: EndComparison): string =>
  `Against ${endNames[comparison.end]} that is ${size(comparison.percent)} ` +
  `(95 % interval: ${interval(comparison)})${comparison.withinNoise ? ", a difference within noise" : ""}.`;

const places: Record<string, string> = { 0: ", independent adapters", Infinity: ", one shared adapter" };

/** Which tau won and by how much, in sentences; docs/method.md, section 9. */
export function describeWinner(results: SweepResults): string[] {
  if (results.best === null) return ["No trial finished, so there is nothing to compare."];
  const { tau } = results.best;
  const row = compareTaus(results).find((candidate) => candidate.tau === tau);
  const test = row?.macroTest === null || row === undefined ? "unknown" : row.macroTest.toFixed(2);
  return [
    `tau = ${formatTau(tau)}${places[tau] ?? ""} has the lowest perplexity on validation; on test its macro perplexity is ${test}.`,
    ...results.best.against.map(against),
  ];
}
