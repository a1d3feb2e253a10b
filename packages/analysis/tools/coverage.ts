/**
 * The table of docs/statistics.md: how often 95 % intervals hold the truth of simulated studies. After `npm run build`:
 *
 *     npx tsx packages/analysis/tools/coverage.ts [studies]
 */
import { coverage, ofDifference, ofPlainBootstrap, ofSlope, scenarios, slopes } from "../src/coverage.fixture.js";

const studies = Number(process.argv[2] ?? 2000);
const resamples = 1000;
const percent = (share: number): string => (100 * share).toFixed(1);

console.log(
  `${studies} studies, ${resamples} resamples each; a share's standard error is ${percent(Math.sqrt((0.95 * 0.05) / studies))} points`,
);
console.log("| study | method | holds | too low | too high | the other method | plain percentile |");
console.log("| --- | --- | --- | --- | --- | --- | --- |");
for (const [name, scenario] of Object.entries(scenarios)) {
  const own = coverage(studies, ofDifference(scenario, resamples));
  const other = coverage(studies, ofDifference(scenario, resamples, own.method === "bca" ? "percentile" : "bca"));
  const plain =
    scenario.about === "new tasks" ? "" : percent(coverage(studies, ofPlainBootstrap(scenario, resamples)).share);
  const { share, below, above } = own;
  console.log(
    `| ${[name, own.method, percent(share), percent(below), percent(above), percent(other.share), plain].join(" | ")} |`,
  );
}
for (const [name, scenario] of Object.entries(slopes)) {
  const { method, share, below, above } = coverage(studies, ofSlope(scenario, resamples));
  console.log(`| slope, ${[name, method, percent(share), percent(below), percent(above), "", ""].join(" | ")} |`);
}
