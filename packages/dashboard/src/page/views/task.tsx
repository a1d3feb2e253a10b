import { perplexityAgainstTau } from "@bora/report/figures";
import { useCallback } from "react";
import { Link, useSearchParams } from "wouter";
import { pagePaths, TaskView } from "../../web/page-api.ts";
import { Figure } from "../parts/figure.tsx";
import { ErrorNotice } from "../parts/notices.tsx";
import { DataTable, type Column } from "../parts/table.tsx";
import { useResource } from "../use-resource.ts";
import { useTitle } from "../use-title.ts";
import { formatTau, nats, nothing, whole } from "../words.ts";

type Scored = TaskView["scored"][number];

const mostTaus = 12; // columns of the table; more are chosen from

const signed = (value: number | null): string =>
  value === null ? nothing : `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(4)}`;

/** Which two taus are held against each other: from the address, else tau = 0 (or the first) against the best. */
function useTaus(task: TaskView | null): {
  from: number;
  to: number;
  choose: (end: "from" | "to", place: string) => void;
} {
  const [search, setSearch] = useSearchParams();
  const place = (end: "from" | "to", otherwise: number): number => {
    const found = task?.taus.findIndex((tau) => formatTau(tau) === search.get(end)) ?? -1;
    return found >= 0 ? found : otherwise;
  };
  const best = task === null || task.best === null ? -1 : task.taus.indexOf(task.best);
  const choose = (end: "from" | "to", tau: string) => {
    setSearch(
      (before) => {
        const next = new URLSearchParams(before);
        next.set(end, tau);
        return next;
      },
      { replace: true },
    );
  };
  return { from: place("from", 0), to: place("to", Math.max(0, best)), choose };
}

function columnsOf(task: TaskView, from: number, to: number): Column<Scored & { difference: number | null }>[] {
  const shown = task.taus
    .map((tau, place) => ({ tau, place }))
    .filter(({ place }) => task.taus.length <= mostTaus || place === from || place === to);
  return [
    { head: "document", text: true, cell: ({ document }) => <span className="path">{document}</span> },
    { head: "date", text: true, cell: ({ date }) => date, wide: true },
    { head: "tokens", cell: ({ tokens }) => whole(tokens) },
    { head: "difference", cell: ({ difference }) => signed(difference) },
    { head: "base", cell: ({ base }) => nats(base), wide: true },
    ...shown.map(({ tau, place }) => ({
      head: `τ = ${formatTau(tau)}`,
      cell: ({ natsPerToken }: Scored) => nats(natsPerToken[place] ?? null),
      wide: place !== from && place !== to,
    })),
  ];
}

function Documents({ task }: { task: TaskView }) {
  const { from, to, choose } = useTaus(task);
  const rows = task.scored
    .map((scored) => {
      const [a, b] = [scored.natsPerToken[from] ?? null, scored.natsPerToken[to] ?? null];
      return { ...scored, difference: a === null || b === null ? null : b - a };
    })
    .toSorted((a, b) => (a.difference ?? 0) - (b.difference ?? 0));
  const select = (end: "from" | "to", place: number, label: string) => (
    <label>
      {label}{" "}
      <select
        value={formatTau(task.taus[place] ?? 0)}
        onChange={({ target }) => {
          choose(end, target.value);
        }}
      >
        {task.taus.map((tau) => (
          <option key={formatTau(tau)}>{formatTau(tau)}</option>
        ))}
      </select>
    </label>
  );
  return (
    <section aria-labelledby="documents">
      <h2 id="documents">Documents</h2>
      <p className="controls">
        {select("to", to, "nats a token under τ =")} {select("from", from, "minus those under τ =")}
        <span className="soft">what gains most first, what loses most last; seeds averaged</span>
      </p>
      <DataTable
        caption={`${task.split} documents, nats a token${task.more > 0 ? `; ${task.more} more are not listed` : ""}`}
        columns={columnsOf(task, from, to)}
        rows={rows}
        keyOf={({ document }) => document}
      />
    </section>
  );
}

export function TaskPage({ sweepId, slug }: { sweepId: string; slug: string }) {
  useTitle(slug);
  const [search, setSearch] = useSearchParams();
  const split = search.get("split") === "validation" ? "validation" : "test";
  const { value: task, error } = useResource(`${pagePaths.task(sweepId, slug)}?split=${split}`, TaskView);
  const thick = task?.name ?? slug;
  const draw = useCallback(
    (data: NonNullable<TaskView["figure"]>, width: number) => perplexityAgainstTau(data, { width, thick }),
    [thick],
  );
  const choice = (wanted: "test" | "validation") => (
    <button
      type="button"
      aria-pressed={split === wanted}
      onClick={() => {
        setSearch(
          (before) => {
            const next = new URLSearchParams(before);
            next.set("split", wanted);
            return next;
          },
          { replace: true },
        );
      }}
    >
      {wanted}
    </button>
  );
  return (
    <>
      <p className="soft">
        <Link href={`/sweeps/${encodeURIComponent(sweepId)}`}>{sweepId}</Link>
      </p>
      <header className="heading">
        <h1>{task?.name ?? slug}</h1>
        <div className="choice" role="group" aria-label="which documents">
          {choice("test")}
          {choice("validation")}
        </div>
      </header>
      {error !== null && <ErrorNotice error={error} />}
      {task !== null && (
        <>
          <p>
            {whole(task.documents.train)} documents to train on ({whole(task.scoredTokens.train)} tokens),{" "}
            {whole(task.documents.validation)} to validate, {whole(task.documents.test)} to test.
          </p>
          <section aria-labelledby="by-tau" className="half">
            <h2 id="by-tau">Perplexity against τ</h2>
            <Figure data={task.figure} draw={draw} empty="No trial has been scored on test yet.">
              Test perplexity of this task; dashed: the base model.
            </Figure>
          </section>
          {task.scored.length > 0 && task.taus.length > 0 ? (
            <Documents task={task} />
          ) : (
            <p className="empty">No document has been scored yet.</p>
          )}
        </>
      )}
    </>
  );
}
