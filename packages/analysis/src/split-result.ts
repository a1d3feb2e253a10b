import { BoraError, type DocumentRow, type SplitResult } from "@bora/contracts";

type Split = DocumentRow["split"];
type Model = DocumentRow["model"];

/** Nats a token of one task: sum over documents of nats, over the sum of scored tokens. */
const natsPerToken = ({ nats, tokens }: { nats: number; tokens: number }): number => nats / tokens;

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/**
 * Perplexities of one split from its documents: a task's exp(nats / tokens); macro = exp(mean over tasks of nats per
 * token), micro = exp(all nats / all tokens); docs/method.md, section 9. `tasks` gives order and completeness: throws
 * artifact_corrupt when one has no document.
 */
export function splitResult(rows: readonly DocumentRow[], tasks: readonly string[]): SplitResult {
  const totals = new Map(tasks.map((name) => [name, { nats: 0, tokens: 0 }]));
  for (const row of rows) {
    const total = totals.get(row.task);
    if (total === undefined) throw incomplete(row, `document ${row.document} is of an unknown task ${row.task}`);
    total.nats += row.nats;
    total.tokens += row.tokens;
  }
  const results = [...totals].map(([name, total]) => {
    if (total.tokens === 0) throw incomplete(rows[0], `task ${name} has no scored document`);
    return { name, ...total, perplexity: Math.exp(natsPerToken(total)) };
  });
  const all = { nats: sum(results.map(({ nats }) => nats)), tokens: sum(results.map(({ tokens }) => tokens)) };
  return {
    macroPerplexity: Math.exp(sum(results.map(natsPerToken)) / results.length),
    microPerplexity: Math.exp(natsPerToken(all)),
    ...all,
    tasks: results,
  };
}

function incomplete(row: DocumentRow | undefined, message: string): BoraError {
  const where = row === undefined ? "" : ` (${row.model} model, ${row.split} split, trial ${row.trial || "none"})`;
  return new BoraError("artifact_corrupt", `${message}${where}`, {
    hint: "the scored documents do not fit the experiment's tasks: retry the trial",
  });
}

/** Both held-out splits of one model; null when it has no document at all. */
export function bothSplits(rows: readonly DocumentRow[], model: Model, tasks: readonly string[]) {
  const own = rows.filter((row) => row.model === model);
  if (own.length === 0) return null;
  const of = (split: Split) =>
    splitResult(
      own.filter((row) => row.split === split),
      tasks,
    );
  return { validation: of("validation"), test: of("test") };
}

/** Macro nats per token: what trials are compared by. */
export const macroNats = (split: SplitResult): number => Math.log(split.macroPerplexity);
