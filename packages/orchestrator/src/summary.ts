import { relative } from "node:path";
import { formatTau, type SweepResults } from "@bora/contracts";
import type { SweepOutcome } from "@bora/sdk";
import { compareResults, controllerApi } from "@bora/sdk/controller";
import { exitCodes, type ExitName } from "./exit-codes.js";
import { table } from "./table.js";
import type { Terminal } from "./terminal.js";

const number = (value: number | null): string => (value === null ? "" : value.toFixed(2));
const percent = (value: number | null): string =>
  value === null ? "" : `${value > 0 ? "+" : ""}${value.toFixed(1)} %`;

/** How a tau's trials ended; `bestSteps` of several seeds one after the other. */
function endings(results: SweepResults, tau: number): { steps: string; ended: string } {
  const trials = results.trials.filter((trial) => trial.tau === tau);
  const words = trials.map(({ state, ended, steps }) => {
    if (state !== "done") return state.replace("_", " ");
    return ended === "limit" ? `step limit ${steps}` : `validation @${steps}`;
  });
  return { steps: trials.map(({ bestStep }) => bestStep ?? "").join(", "), ended: [...new Set(words)].join(", ") };
}

function tauTable(results: SweepResults): string {
  const rows = compareResults(results).taus.map((row) => {
    const { steps, ended } = endings(results, row.tau);
    return [
      `${row.best ? "* " : ""}${formatTau(row.tau)}`,
      ...[row.macroTest, row.microTest].map(number),
      ...[row.againstIndependent, row.againstShared].map(percent),
      steps,
      ended,
    ];
  });
  const head = ["tau", "macro", "micro", "vs tau=0", "vs inf", "best step", "ended by"];
  return table(head, rows, "rrrrrrl");
}

function taskTable(results: SweepResults): string {
  const { tasks } = compareResults(results);
  const tau = results.best?.tau;
  const between = tau !== undefined && tau !== 0 && tau !== Infinity; // an end has its column already
  const rows = tasks.map((row) => [
    row.name,
    String(row.trainDocuments),
    ...[row.base, row.independent, ...(between ? [row.best] : []), row.shared].map(number),
    ...[row.againstIndependent, row.againstShared].map(percent),
  ]);
  const taus = ["tau=0", ...(between ? [`tau=${formatTau(tau)}`] : []), "tau=inf"];
  return table(
    ["task", "train", "base", ...taus, "best vs 0", "best vs inf"],
    rows,
    `lr${"r".repeat(taus.length + 3)}`,
  );
}

const basePerplexity = ({ base }: SweepResults): string =>
  base === null
    ? "the base model was not scored"
    : `base model: macro ${number(base.test.macroPerplexity)}, micro ${number(base.test.microPerplexity)}`;

/** The end of a sweep in text: a row a tau, the winner, where sharing pays. */
export function resultsText(results: SweepResults): string {
  return [
    "test perplexity for each tau (* best by validation)",
    tauTable(results),
    basePerplexity(results),
    "",
    ...compareResults(results).winner,
    "",
    "where sharing pays: test perplexity for each task",
    taskTable(results),
    ...(results.warnings.length > 0 ? ["", ...results.warnings.map((warning) => `warning: ${warning}`)] : []),
  ].join("\n");
}

/** Where the files are, as seen from where the person stands. */
export function filesText(folder: string, terminal: Terminal): string {
  const near = relative(terminal.cwd, folder);
  const place = near.startsWith("..") ? folder : near;
  const files = {
    "results.json": "all numbers",
    "documents.parquet": "nats of every document",
    "adapters/": "a PEFT folder for each trial and task",
    "report.html": "figure and tables",
  };
  return Object.entries(files)
    .map(([name, what]) => `${`${place}/${name}`.padEnd(place.length + 20)}${what}`)
    .join("\n");
}

function outcomeWords({ outcome, alreadyDone, sweepId, reason }: SweepOutcome): string[] {
  const why = reason === null ? [] : [`error ${reason.code}: ${reason.message}`, `  hint: ${reason.hint}`];
  switch (outcome) {
    case "done":
      return alreadyDone ? [`${sweepId} was finished before: nothing was trained`] : [];
    case "failed":
      return [`${sweepId}: some trial failed (bora retry --failed tries again)`, ...why];
    case "stopped":
      return [`${sweepId} was stopped; the same command goes on from the last checkpoint`, ...why];
    case "cancelled":
      return [`${sweepId} was cancelled; bora resume goes on with it`];
    case "interrupted":
      return [`${sweepId} is interrupted; the same command goes on from the last checkpoint`];
    default:
      return outcome satisfies never;
  }
}

/** Prints how a sweep ended: for a person, or with `exit` as one JSON line. */
export function showOutcome(outcome: SweepOutcome, terminal: Terminal, exit: ExitName | null): void {
  if (exit !== null) {
    const ended = { ended: outcome, exit, exitCode: exitCodes[exit].code };
    terminal.out(controllerApi.toJson(ended));
    return;
  }
  const { results, folder } = outcome;
  const words = outcomeWords(outcome);
  if (words.length > 0) terminal.out(words.join("\n"));
  if (results !== null && (results.best !== null || outcome.outcome === "failed"))
    terminal.out(`\n${resultsText(results)}\n\n${filesText(folder, terminal)}\n`);
}
