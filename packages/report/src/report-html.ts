import { describeWinner, perplexityByTau } from "@bora/analysis";
import { parseExperiment, type SweepResults } from "@bora/contracts";
import { figureSvg } from "./draw-figure.js";
import { perplexityAgainstTau } from "./figures/perplexity-against-tau.js";
import { html, Html } from "./html.js";
import { reportStyle } from "./report-style.js";
import { dataTable, taskTable, tauTable, trialTable } from "./tables.js";
import { whatWasRun } from "./what-was-run.js";

function figure(results: SweepResults): Html {
  const data = perplexityByTau(results, null);
  if (data === null) return html``;
  const svg = figureSvg(perplexityAgainstTau, data);
  return html`<figure>
    ${new Html(svg)}
    <figcaption>
      Thick: exp of the mean over tasks of nats per token. Thin: each task. Dashed: the base model without adapters. The
      dot marks the τ with the lowest perplexity on validation. Lower is better; the vertical axis is logarithmic.
    </figcaption>
  </figure>`;
}

const warnings = ({ warnings: texts }: SweepResults): Html =>
  texts.length === 0
    ? html``
    : html`<h2>Before you trust this</h2>
        <ul class="warnings">
          ${texts.map((text) => html`<li>${text}</li> `)}
        </ul>`;

/** report.html: one file without scripts, styles or images from elsewhere; every name in it is escaped. */
export function reportHtml(results: SweepResults): string {
  const { name } = parseExperiment(results.experiment);
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
        <title>${name}: which tau wins</title>
        <style>
          ${reportStyle}
        </style>
      </head>
      <body>
        <h1>${name}: which τ wins</h1>
        <p class="soft">sweep <code>${results.sweepId}</code></p>
        ${describeWinner(results).map((sentence) => html`<p>${sentence}</p> `)} ${figure(results)} ${warnings(results)}
        <h2>Perplexity by τ</h2>
        ${tauTable(results)}
        <p class="soft">Differences are of macro test perplexity. "Prior mean alone" reads every task with Θ only.</p>
        <h2>Where sharing pays</h2>
        ${taskTable(results)}
        <p class="soft">Test perplexity of each task, largest first; negative means that the best τ is better.</p>
        <h2>Trials</h2>
        ${trialTable(results)}
        <h2>What was run</h2>
        ${whatWasRun(results)}
        <h2>Documents</h2>
        ${dataTable(results)}
      </body>
    </html> `;
  return page.text;
}
