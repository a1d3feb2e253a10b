import { compareTasks, compareTaus } from "@bora/analysis";
import { formatTau, type SweepResults } from "@bora/contracts";
import { html, type Html, type HtmlValue } from "./html.js";

const number = (value: number | null, digits = 2): string => (value === null ? "" : value.toFixed(digits));
const percent = (value: number | null): string =>
  value === null ? "" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)} %`;

interface Column {
  head: string;
  text?: boolean; // left-aligned
}

function table(columns: readonly Column[], rows: readonly { cells: readonly HtmlValue[]; best?: boolean }[]): Html {
  const side = (index: number): string => (columns[index]?.text ? "text" : "number");
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          ${columns.map(({ head }, index) => html`<th scope="col" class="${side(index)}">${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ cells, best = false }) =>
            html`<tr class="${best ? "best" : ""}">
              ${cells.map((cell, index) => html`<td class="${side(index)}">${cell}</td>`)}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

const ends: Record<number, string> = { 0: " independent", Infinity: " shared" };
const named = (tau: number): string => `${formatTau(tau)}${ends[tau] ?? ""}`;

/** One row a tau: perplexities on test, and the differences to both ends. */
export function tauTable(results: SweepResults): Html {
  const severalSeeds = new Set(results.trials.map(({ seed }) => seed)).size > 1;
  const rows = compareTaus(results).map((row) => ({
    best: row.best,
    cells: [
      html`${named(row.tau)}${row.best ? html` <span class="mark">best on validation</span>` : ""}`,
      ...(severalSeeds ? [row.seeds] : []),
      number(row.macroValidation),
      number(row.macroTest),
      number(row.microTest),
      percent(row.againstIndependent),
      percent(row.againstShared),
      number(row.priorMeanMacroTest),
    ],
  }));
  const { base } = results;
  const baseRow = base && {
    cells: [
      "base model",
      ...(severalSeeds ? [""] : []),
      number(base.validation.macroPerplexity),
      number(base.test.macroPerplexity),
      number(base.test.microPerplexity),
      "",
      "",
      "",
    ],
  };
  const heads = [
    "validation, macro",
    "test, macro",
    "test, micro",
    "against τ\u00a0=\u00a00",
    "against τ\u00a0=\u00a0inf",
    "prior mean alone",
  ];
  return table(
    [{ head: "τ", text: true }, ...(severalSeeds ? [{ head: "seeds" }] : []), ...heads.map((head) => ({ head }))],
    baseRow === null ? rows : [...rows, baseRow],
  );
}

/** One row a task: where sharing pays. */
export function taskTable(results: SweepResults): Html {
  const heads = [
    "training documents",
    "base model",
    "τ = 0",
    "best τ",
    "τ = inf",
    "best against τ\u00a0=\u00a00",
    "best against τ\u00a0=\u00a0inf",
  ];
  return table(
    [{ head: "task", text: true }, ...heads.map((head) => ({ head }))],
    compareTasks(results).map((row) => ({
      cells: [
        row.name,
        row.trainDocuments,
        number(row.base),
        number(row.independent),
        number(row.best),
        number(row.shared),
        percent(row.againstIndependent),
        percent(row.againstShared),
      ],
    })),
  );
}

const endings = { validation: "validation stopped improving", limit: "step limit" } as const;

/** One row a trial: how it ended. */
export function trialTable(results: SweepResults): Html {
  const columns = [
    { head: "τ", text: true },
    { head: "seed" },
    { head: "state", text: true },
    { head: "steps" },
    { head: "best step" },
    { head: "ended by", text: true },
    { head: "validation, macro" },
    { head: "test, macro" },
    { head: "trial", text: true },
  ];
  return table(
    columns,
    results.trials.map((trial) => ({
      best: trial.id === results.best?.trialId,
      cells: [
        formatTau(trial.tau),
        trial.seed,
        trial.failure === null ? trial.state.replace("_", " ") : `${trial.state}: ${trial.failure.code}`,
        trial.steps ?? "",
        trial.bestStep ?? "",
        trial.ended === null ? "" : endings[trial.ended],
        number(trial.validation?.macroPerplexity ?? null),
        number(trial.test?.macroPerplexity ?? null),
        html`<code>${trial.id}</code>`,
      ],
    })),
  );
}

/** One row a task: its documents and scored tokens. */
export function dataTable(results: SweepResults): Html {
  const splits = ["train", "validation", "test"] as const;
  const heads = [
    ...splits.map((split) => `${split} documents`),
    ...splits.map((split) => `${split} tokens`),
    "cut documents",
  ];
  return table(
    [{ head: "task", text: true }, ...heads.map((head) => ({ head }))],
    results.data.tasks.map((task) => ({
      cells: [
        task.name,
        ...splits.map((split) => task.documents[split]),
        ...splits.map((split) => task.scoredTokens[split]),
        task.cutDocuments,
      ],
    })),
  );
}
