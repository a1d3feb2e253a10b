import { describeFindings, type Findings } from "@bora/analysis";
import { parseExperiment, type SweepResults } from "@bora/contracts";
import { htmlTable, type DataTable } from "./data-table.js";
import { html, Html } from "./html.js";
import { methods } from "./methods.js";
import { reportFigures, type ReportFigure } from "./report-figures.js";
import { reportStyle } from "./report-style.js";
import { reportTables } from "./report-tables.js";
import { whatWasRun } from "./what-was-run.js";

const widths = { wide: 860, narrow: 340 } as const; // pixels; the style sheet shows one of them

/** A drawing for wide pages and one for narrow ones, whose labels stay readable. */
export const bothWidths = (svg: (options: { width: number }) => string): Html[] =>
  (["wide", "narrow"] as const).map(
    (name) => new Html(svg({ width: widths[name] }).replace('class="bora-figure"', `class="${name}"`)),
  );

function figure({ title, caption, svg, missing }: ReportFigure): Html {
  if (svg === null)
    return html`<h3>${title}</h3>
      <p class="soft">Not drawn: ${missing}.</p>`;
  return html`<h3>${title}</h3>
    <figure>
      ${bothWidths(svg)}
      <figcaption>${caption}</figcaption>
    </figure>`;
}

const warnings = ({ warnings: texts }: SweepResults): Html =>
  texts.length === 0
    ? html``
    : html`<h2>Before you trust this</h2>
        <ul class="warnings">
          ${texts.map((text) => html`<li>${text}</li> `)}
        </ul>`;

const notes: Record<string, string> = {
  taus: "Differences are of macro test perplexity. “Θ alone” reads every task with the shared mean only.",
  contrasts: "Negative: the best τ is better. p is two-sided, Holm's adjustment is over the rows.",
  tasks: "Test perplexity of each task, largest first; negative means that the best τ is better.",
};

const section = (table: DataTable): Html => {
  const note = notes[table.name];
  return html`<h2>${table.title}</h2>
    ${htmlTable(table)} ${note === undefined ? "" : html`<p class="soft">${note}</p>`}`;
};

const unfinished = (open: number, { trials }: SweepResults): Html =>
  open === 0
    ? html``
    : html`<p class="open">
        Unfinished: ${open} of ${trials.length} trials have not ended. This is what there is so far; the best τ may
        change.
      </p>`;

/** A page with our head and style; every name in it is escaped, nothing comes from elsewhere. */
export const page = (title: string, body: Html): string =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
        <title>${title}</title>
        <style>
          ${reportStyle}
        </style>
      </head>
      <body>
        ${body}
      </body>
    </html> `.text;

/** report.html: one file without scripts, styles or images from elsewhere. `open`: trials that have not ended. */
export function reportHtml(results: SweepResults, found: Findings, open = 0): string {
  const { name } = parseExperiment(results.experiment);
  const [first, ...others] = reportFigures(found);
  const [taus, contrasts, ...tables] = reportTables(results, found);
  return page(
    `${name}: which tau wins`,
    html`<h1>${name}: which τ wins</h1>
      <p class="soft">sweep <code>${results.sweepId}</code></p>
      ${unfinished(open, results)} ${describeFindings(results, found).map((sentence) => html`<p>${sentence}</p> `)}
      ${first === undefined ? "" : figure(first)} ${warnings(results)}
      ${[taus, contrasts].map((table) => (table === undefined ? "" : section(table)))}
      <h2>Figures</h2>
      ${others.map(figure)} ${tables.map(section)}
      <h2>What was run</h2>
      ${whatWasRun(results)}
      <h2>For a methods section</h2>
      ${methods(results).map((paragraph) => html`<p>${paragraph}</p> `)}`,
  );
}
