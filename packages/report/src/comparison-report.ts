import type { SweepComparison } from "@bora/analysis";
import { formatTau } from "@bora/contracts";
import { join } from "node:path";
import { htmlTable, type Column, type DataTable } from "./data-table.js";
import { figureSvg } from "./draw-figure.js";
import { sweepDifferences, sweepsByTau } from "./figures.js";
import { html, type Html } from "./html.js";
import type { ReportFigure } from "./report-figures.js";
import { bothWidths, page } from "./report-html.js";
import { replaceFile, writeFigure, writeTable } from "./write-report.js";

const size = (value: number): string => Math.abs(value).toFixed(4);

/** What the comparison says, and what it cannot say. */
export function comparisonWords({ sweeps, differences, unpaired, unit }: SweepComparison): string[] {
  const first = sweeps[0]?.label ?? "";
  return [
    ...differences.map(({ label, difference, low, high, pHolm, documents, leftOut }) => {
      const way = difference <= 0 ? "lower (better)" : "higher (worse)";
      const noise = low <= 0 && high >= 0 ? ", a difference within noise" : "";
      const without = leftOut === 0 ? "" : `; ${leftOut} documents that only one of them scored in full are left out`;
      return (
        `${label} is ${size(difference)} ${unit} ${way} than ${first} on ${documents} test documents of both ` +
        `(95 % interval ${low.toFixed(4)} to ${high.toFixed(4)}, p after Holm ${pHolm.toFixed(4)})${noise}${without}.`
      );
    }),
    ...unpaired.map(
      ({ label, why }) =>
        `${label} cannot be compared with ${first} document by document: ${why}. Only their own values can be set side by side, ` +
        "and a difference between those may come from the documents.",
    ),
    ...(unit === "bits per character"
      ? [
          "Tokens or documents differ between the sweeps, so all is in bits per character: perplexities over other tokens say nothing of each other.",
        ]
      : []),
    "Each sweep stands at its own best tau, chosen on its own validation documents.",
  ];
}

const digits = (name: string, head: string): Column => ({ name, head, kind: { digits: 4 } });
const count = (name: string, head: string): Column => ({ name, head, kind: "count" });
const text = (name: string, head: string): Column => ({ name, head, kind: "text" });

function tables({ sweeps, differences, tasks, settings, unit }: SweepComparison): DataTable[] {
  const key = unit.replaceAll(" ", "_");
  return [
    {
      ...{ name: "sweeps", title: "Each sweep at its best τ, on its own test documents" },
      columns: [
        ...[
          text("label", "sweep"),
          text("sweep", "id"),
          text("tau", "τ"),
          count("seeds", "seeds"),
          count("tasks", "tasks"),
        ],
        ...[
          count("test_documents", "test documents"),
          digits(key, unit),
          digits(`${key}_low`, "95 % from"),
          digits(`${key}_high`, "to"),
        ],
        ...[
          { name: "test_macro_perplexity", head: "perplexity", kind: { digits: 2 } },
          digits(`base_${key}`, "base model"),
        ],
      ],
      rows: sweeps.map((own) => ({
        cells: [
          ...[
            own.label,
            own.sweepId,
            formatTau(own.tau),
            own.seeds,
            own.tasks,
            own.documents,
            own.value,
            own.low,
            own.high,
          ],
          ...[own.perplexity, own.base],
        ],
      })),
    },
    {
      ...{ name: "differences", title: `Against ${sweeps[0]?.label ?? "the first"}, over the documents of both` },
      columns: [
        ...[
          text("label", "sweep"),
          digits(`difference_${key}`, unit),
          digits("low", "95 % from"),
          digits("high", "to"),
        ],
        ...[digits("p", "p"), digits("p_holm", "p, Holm"), text("verdict", ""), text("interval", "interval")],
        ...[count("seeds", "seeds"), count("documents", "documents"), count("left_out", "left out")],
      ],
      rows: differences.map((own) => ({
        cells: [
          ...[own.label, own.difference, own.low, own.high, own.p, own.pHolm],
          own.low <= 0 && own.high >= 0 ? "within noise" : own.difference < 0 ? "better" : "worse",
          ...[own.method, own.seeds, own.documents, own.leftOut],
        ],
      })),
    },
    {
      ...{ name: "tasks", title: `${unit} by task` },
      columns: [text("task", "task"), ...sweeps.map(({ label }, place) => digits(`sweep_${place + 1}`, label))],
      rows: tasks.map(({ name, values }) => ({ cells: [name, ...values] })),
    },
    {
      ...{ name: "settings", title: "What differs between them" },
      columns: [text("setting", "setting"), ...sweeps.map(({ label }, place) => text(`sweep_${place + 1}`, label))],
      rows: settings.map(({ path, values }) => ({ cells: [path, ...values] })),
    },
  ];
}

function figures(comparison: SweepComparison): ReportFigure[] {
  const paired = comparison.differences.length > 0;
  return [
    {
      name: "sweeps-by-tau",
      title: "Each sweep against τ",
      caption: "A line is a sweep on its own test documents; the dot is its best τ by validation.",
      svg: (options) => figureSvg(sweepsByTau, comparison, options),
      missing: "",
    },
    {
      name: "differences",
      title: "Differences",
      caption: "Paired over the test documents that both scored, tasks weighing alike; 95 % intervals.",
      svg: paired ? (options) => figureSvg(sweepDifferences, comparison, options) : null,
      missing: "no sweep can be paired with the first",
    },
  ];
}

function body(comparison: SweepComparison, drawn: readonly ReportFigure[]): Html {
  const names = comparison.sweeps.map(({ label }) => label).join(", ");
  return html`<h1>${names}</h1>
    ${comparisonWords(comparison).map((sentence) => html`<p>${sentence}</p> `)}
    ${drawn.map(({ title, caption, svg, missing }) =>
      svg === null
        ? html`<h3>${title}</h3>
            <p class="soft">Not drawn: ${missing}.</p>`
        : html`<h3>${title}</h3>
            <figure>
              ${bothWidths(svg)}
              <figcaption>${caption}</figcaption>
            </figure>`,
    )}
    ${tables(comparison)
      .filter(({ rows }) => rows.length > 0)
      .map(
        (table) =>
          html`<h2>${table.title}</h2>
            ${htmlTable(table)}`,
      )}`;
}

/** comparison.html, its figures and tables; the same bytes for the same sweeps. Returns the files' names. */
export async function writeComparison(folder: string, comparison: SweepComparison): Promise<string[]> {
  const drawn = figures(comparison);
  const files = ["comparison.html"];
  await replaceFile(join(folder, "comparison.html"), page("comparison of sweeps", body(comparison, drawn)));
  for (const figure of drawn)
    files.push(...(await writeFigure(join(folder, "figures"), figure)).map((name) => `figures/${name}`));
  for (const table of tables(comparison).filter(({ rows }) => rows.length > 0))
    files.push(...(await writeTable(join(folder, "tables"), table)).map((name) => `tables/${name}`));
  return files;
}
