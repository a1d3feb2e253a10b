import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { documentRows, perplexityByTau, type ScoredTrial } from "@bora/analysis";
import { BoraError, isMissing, type DocumentRow, type SweepResults } from "@bora/contracts";
import type { TaskView } from "./page-api.js";

const mostDocuments = 500;

interface Mean {
  nats: number;
  seeds: number;
}

/** Lines that may be of a task, without reading every line as JSON; an escaped name is looked for in all of them. */
const linesOf = (text: string, task: string): string =>
  /^[\x20-\x7e]*$/.test(task)
    ? text
        .split("\n")
        .map((line) => (line.includes(JSON.stringify(task)) ? line : "")) // keeps line numbers for errors
        .join("\n")
    : text;

async function scoredDocuments(file: string, task: string, owner: ScoredTrial): Promise<DocumentRow[]> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    if (isMissing(error)) return "";
    throw error;
  });
  return documentRows(linesOf(text, task), owner).filter((row) => row.task === task);
}

interface Scored {
  base: DocumentRow[];
  own: DocumentRow[];
}

async function read(folder: string, results: SweepResults, task: string): Promise<Scored> {
  const own: DocumentRow[] = [];
  for (const { id, tau, seed, state } of results.trials)
    if (state === "done") {
      const file = join(folder, "trials", id, "documents.jsonl");
      own.push(...(await scoredDocuments(file, task, { id, tau, seed })).filter(({ model }) => model === "task"));
    }
  return { base: await scoredDocuments(join(folder, "base", "documents.jsonl"), task, null), own };
}

function matrix({ base, own }: Scored, taus: readonly number[]): TaskView["scored"] {
  const sums = new Map<string, Mean[]>();
  const rows = new Map<string, DocumentRow>();
  for (const row of own) {
    const place = taus.indexOf(row.tau ?? NaN);
    const means = sums.get(row.document) ?? taus.map(() => ({ nats: 0, seeds: 0 }));
    const mean = means[place];
    if (mean === undefined) continue;
    mean.nats += row.nats / row.tokens;
    mean.seeds += 1;
    sums.set(row.document, means);
    rows.set(row.document, row);
  }
  for (const row of base) if (!rows.has(row.document)) rows.set(row.document, row);
  const alone = new Map(base.map(({ document, nats, tokens }) => [document, nats / tokens]));
  return [...rows.values()].map(({ document, date, tokens }) => ({
    ...{ document, date, tokens, base: alone.get(document) ?? null },
    natsPerToken: (sums.get(document) ?? taus.map(() => ({ nats: 0, seeds: 0 }))).map(({ nats, seeds }) =>
      seeds === 0 ? null : nats / seeds,
    ),
  }));
}

/** The figure of one task alone: its line as the thick one. */
function figureOf(results: SweepResults, name: string): TaskView["figure"] {
  const all = perplexityByTau(results, null);
  const points = all?.tasks.find((task) => task.name === name)?.points ?? [];
  if (all === null || points.length === 0) return null;
  const base = results.base?.test.tasks.find((task) => task.name === name)?.perplexity ?? null;
  return { ...all, tasks: [], base, overall: points.map((point) => ({ ...point, band: null })) };
}

/** One task of a sweep: its documents under every finished tau, largest difference between best tau and tau = 0 first. */
export async function taskView(
  folder: string,
  results: SweepResults,
  slug: string,
  split: TaskView["split"],
): Promise<TaskView> {
  const task = results.data.tasks.find((one) => one.slug === slug);
  if (task === undefined)
    throw new BoraError("data_task_unknown", `sweep ${results.sweepId} has no task ${slug}`, {
      hint: `its tasks are ${results.data.tasks.map((one) => one.slug).join(", ")}`,
    });
  const done = results.trials.filter(({ state }) => state === "done").map(({ tau }) => tau);
  const taus = [...new Set(done)].toSorted((a, b) => (a < b ? -1 : 1));
  const found = await read(folder, results, task.name);
  const inSplit = (row: DocumentRow) => row.split === split;
  const scored = matrix({ base: found.base.filter(inSplit), own: found.own.filter(inSplit) }, taus);
  return {
    ...{ name: task.name, slug, documents: task.documents, scoredTokens: task.scoredTokens, split, taus },
    ...{ figure: figureOf(results, task.name), best: results.best?.tau ?? null },
    scored: scored.slice(0, mostDocuments),
    more: Math.max(0, scored.length - mostDocuments),
  };
}
