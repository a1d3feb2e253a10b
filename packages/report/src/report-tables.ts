import { compareTasks, compareTaus, type Findings, type GainAgainst } from "@bora/analysis";
import { formatTau, type SweepResults } from "@bora/contracts";
import type { Cell, Column, DataTable } from "./data-table.js";

const perplexity = (name: string, head: string): Column => ({ name, head, kind: { digits: 2 } });
const percent = (name: string, head: string): Column => ({ name, head, kind: "percent" });
const count = (name: string, head: string): Column => ({ name, head, kind: "count" });
const text = (name: string, head: string): Column => ({ name, head, kind: "text" });
const tauColumn: Column = { name: "tau", head: "τ", kind: "tau" };

/** One row a tau: perplexities on test, and the differences to both ends; last the base model, without a tau. */
function byTau(results: SweepResults, { bits }: Findings): DataTable {
  const bitsAt = (tau: number | null): number | null => bits.find((own) => own.tau === tau)?.macro ?? null;
  const rows = compareTaus(results).map((row) => ({
    best: row.best,
    cells: [
      ...[row.tau, row.best ? "best on validation" : "", row.seeds, row.macroValidation, row.macroTest, row.microTest],
      ...[bitsAt(row.tau), row.againstIndependent, row.againstShared, row.priorMeanMacroTest],
    ],
  }));
  const { base } = results;
  const last = base && [
    ...[
      null,
      "base model",
      null,
      base.validation.macroPerplexity,
      base.test.macroPerplexity,
      base.test.microPerplexity,
    ],
    ...[bitsAt(null), null, null, null],
  ];
  return {
    ...{ name: "taus", title: "Perplexity by τ" },
    columns: [
      ...[
        tauColumn,
        text("note", ""),
        count("seeds", "seeds"),
        perplexity("validation_macro_perplexity", "validation, macro"),
      ],
      ...[perplexity("test_macro_perplexity", "test, macro"), perplexity("test_micro_perplexity", "test, micro")],
      { name: "test_macro_bits_per_character", head: "test, bits per character", kind: { digits: 3 } },
      percent("against_independent_percent", "against τ\u00a0=\u00a00"),
      percent("against_shared_percent", "against τ\u00a0=\u00a0inf"),
      perplexity("prior_mean_test_macro_perplexity", "Θ alone"),
    ],
    rows: last === null ? rows : [...rows, { cells: last }],
  };
}

/** The best tau against every other, with intervals and p-values. */
function contrasts({ perplexity: found, contrasts: all }: Findings): DataTable {
  const asPercent = (nats: number): Cell => (Number.isFinite(nats) ? 100 * Math.expm1(nats) : null);
  return {
    ...{ name: "contrasts", title: "The best τ against the others, on test" },
    columns: [
      ...[tauColumn, { ...tauColumn, name: "against_tau", head: "against τ" }],
      ...[
        percent("difference_percent", "difference"),
        percent("low_percent", "95 % from"),
        percent("high_percent", "to"),
      ],
      ...[
        { name: "p", head: "p", kind: { digits: 4 } },
        { name: "p_holm", head: "p, Holm", kind: { digits: 4 } },
      ],
      ...[text("verdict", ""), text("interval", "interval"), count("seeds", "seeds")],
    ],
    rows: all.map(({ other, difference, low, high, p, pHolm, method, seeds }) => ({
      cells: [
        ...[found?.best ?? null, other, asPercent(difference), asPercent(low), asPercent(high), p, pHolm],
        ...[low <= 0 && high >= 0 ? "within noise" : difference < 0 ? "better" : "worse", method, seeds],
      ],
    })),
  };
}

/** One row a task: where sharing pays. */
function byTask(results: SweepResults, { gains }: Findings): DataTable {
  const tokens = new Map(results.data.tasks.map(({ name, scoredTokens }) => [name, scoredTokens.train]));
  const others = gains?.others ?? [];
  const of = (task: string, other: number): GainAgainst | undefined =>
    gains?.tasks.find(({ name }) => name === task)?.against.find((own) => own.other === other);
  return {
    ...{ name: "tasks", title: "Where sharing pays: test perplexity by task" },
    columns: [
      ...[
        text("task", "task"),
        count("train_documents", "training documents"),
        count("train_tokens", "training tokens"),
      ],
      ...[perplexity("base_perplexity", "base model"), perplexity("independent_perplexity", "τ = 0")],
      ...[perplexity("best_perplexity", "best τ"), perplexity("shared_perplexity", "τ = inf")],
      ...others.flatMap((other) => {
        const key = `against_tau_${formatTau(other)}`;
        return [
          percent(`${key}_percent`, `best against τ\u00a0=\u00a0${formatTau(other)}`),
          percent(`${key}_low_percent`, "95 % from"),
          percent(`${key}_high_percent`, "to"),
        ];
      }),
    ],
    rows: compareTasks(results).map((row) => ({
      cells: [
        ...[
          row.name,
          row.trainDocuments,
          tokens.get(row.name) ?? null,
          row.base,
          row.independent,
          row.best,
          row.shared,
        ],
        ...others.flatMap((other) => {
          const own = of(row.name, other);
          return [own?.percent ?? null, own?.low ?? null, own?.high ?? null];
        }),
      ],
    })),
  };
}

const endings = { validation: "validation stopped improving", limit: "step limit" } as const;

/** One row a trial: how it ended. */
function trials(results: SweepResults): DataTable {
  return {
    ...{ name: "trials", title: "Trials" },
    columns: [
      ...[
        tauColumn,
        count("seed", "seed"),
        text("state", "state"),
        count("steps", "steps"),
        count("best_step", "best step"),
      ],
      ...[text("ended_by", "ended by"), perplexity("validation_macro_perplexity", "validation, macro")],
      ...[perplexity("test_macro_perplexity", "test, macro"), text("trial", "trial")],
    ],
    rows: results.trials.map(({ tau, seed, state, failure, steps, bestStep, ended, validation, test, id }) => ({
      best: id === results.best?.trialId,
      cells: [
        ...[tau, seed, failure === null ? state.replace("_", " ") : `${state}: ${failure.code}`, steps, bestStep],
        ...[
          ended === null ? "" : endings[ended],
          validation?.macroPerplexity ?? null,
          test?.macroPerplexity ?? null,
          id,
        ],
      ],
    })),
  };
}

/** One row a task: its documents and scored tokens. */
function data(results: SweepResults): DataTable {
  const splits = ["train", "validation", "test"] as const;
  return {
    ...{ name: "data", title: "Documents" },
    columns: [
      text("task", "task"),
      ...splits.map((split) => count(`${split}_documents`, `${split} documents`)),
      ...splits.map((split) => count(`${split}_tokens`, `${split} tokens`)),
      count("cut_documents", "cut documents"),
    ],
    rows: results.data.tasks.map(({ name, documents, scoredTokens, cutDocuments }) => ({
      cells: [
        name,
        ...splits.map((split) => documents[split]),
        ...splits.map((split) => scoredTokens[split]),
        cutDocuments,
      ],
    })),
  };
}

/** One row a task: how far its adapter is from Theta. */
function distances({ distances: found }: Findings): DataTable[] {
  if (found === null) return [];
  const length = (name: string, head: string): Column => ({ name, head, kind: { digits: 4 } });
  const table: DataTable = {
    ...{ name: "distances", title: `Distance to Θ at τ = ${formatTau(found.tau)}` },
    columns: [
      ...[text("task", "task"), count("train_tokens", "training tokens"), length("distance", "‖θ − Θ‖")],
      ...[
        length("distance_tau_0", "‖θ − Θ‖ at τ = 0"),
        length("ratio", "ratio"),
        length("change_distance", "‖ΔW − ΔW(Θ)‖"),
      ],
    ],
    rows: found.tasks.map(({ name, trainTokens, distance, independent, ratio, change }) => ({
      cells: [name, trainTokens, distance, independent, ratio, change],
    })),
  };
  return [table];
}

/** Every table of a sweep's report. */
export const reportTables = (results: SweepResults, found: Findings): DataTable[] => [
  byTau(results, found),
  ...(found.contrasts.length > 0 ? [contrasts(found)] : []),
  byTask(results, found),
  ...distances(found),
  trials(results),
  data(results),
];
