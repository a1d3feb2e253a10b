import { Link, useSearchParams } from "wouter";
import { Comparison, pagePaths, SweepList } from "../../web/page-api.ts";
import { Figure } from "../parts/figure.tsx";
import { ErrorNotice } from "../parts/notices.tsx";
import { DataTable, type Column } from "../parts/table.tsx";
import { useResource } from "../use-resource.ts";
import { useTitle } from "../use-title.ts";
import { formatTau, nothing, perplexity } from "../words.ts";
import { drawPerplexity } from "./sweep-figures.tsx";

const mostCompared = 6;
type Task = Comparison["tasks"][number];
type Compared = Comparison["sweeps"][number];

function useChosen(): [string[], (sweepId: string, chosen: boolean) => void] {
  const [search, setSearch] = useSearchParams();
  const chosen = (search.get("sweeps") ?? "").split(",").filter((part) => part !== "");
  const choose = (sweepId: string, wanted: boolean) => {
    const next = wanted ? [...chosen, sweepId] : chosen.filter((one) => one !== sweepId);
    setSearch(next.length === 0 ? {} : { sweeps: next.join(",") });
  };
  return [chosen, choose];
}

const summary: Column<Compared>[] = [
  {
    head: "sweep",
    text: true,
    cell: ({ sweepId }) => <Link href={`/sweeps/${encodeURIComponent(sweepId)}`}>{sweepId}</Link>,
  },
  { head: "base", cell: ({ base }) => perplexity(base) },
  { head: "τ = 0", cell: ({ independent }) => perplexity(independent) },
  { head: "best τ", cell: ({ best }) => (best === null ? nothing : formatTau(best.tau)) },
  { head: "its perplexity", cell: ({ best }) => perplexity(best?.perplexity ?? null) },
  { head: "τ = inf", cell: ({ shared }) => perplexity(shared) },
];

function Facts({ sweeps }: { sweeps: readonly Compared[] }) {
  const words = [...new Set(sweeps.flatMap(({ facts }) => facts.map(([word]) => word)))];
  const rows = words.map((word) => ({
    word,
    values: sweeps.map(({ facts }) => facts.find(([own]) => own === word)?.[1] ?? nothing),
  }));
  return (
    <DataTable
      caption="What is run; marked where they differ"
      columns={[
        { head: "what", text: true, cell: ({ word }: (typeof rows)[number]) => word },
        ...sweeps.map(({ sweepId }, index) => ({
          head: sweepId,
          text: true,
          cell: ({ values }: (typeof rows)[number]) => <span className="fact">{values[index]}</span>,
        })),
      ]}
      rows={rows}
      keyOf={({ word }) => word}
      markOf={({ values }) => (new Set(values).size > 1 ? "best" : undefined)}
    />
  );
}

function Side({ value }: { value: Comparison }) {
  const taskColumns: Column<Task>[] = [
    { head: "task", text: true, cell: ({ name }) => name },
    ...value.sweeps.map(({ sweepId }, index) => ({
      head: sweepId,
      cell: ({ best }: Task) => perplexity(best[index] ?? null),
    })),
  ];
  return (
    <>
      {value.warnings.length > 0 && (
        <ul className="warnings">
          {value.warnings.map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      )}
      {value.differences.length > 0 && (
        <section aria-label="differences">
          <h2>What differs</h2>
          {value.differences.map((text) => (
            <p key={text}>{text}</p>
          ))}
        </section>
      )}
      <DataTable caption="Macro test perplexity" columns={summary} rows={value.sweeps} keyOf={(row) => row.sweepId} />
      <div className="figures">
        {value.sweeps.map(({ sweepId, figure }) => (
          <section key={sweepId} aria-label={sweepId}>
            <h2>{sweepId}</h2>
            <Figure data={figure} draw={drawPerplexity} empty="No trial has been scored on test yet." />
          </section>
        ))}
      </div>
      {value.tasks.length > 0 && value.sweeps.length > 1 && (
        <DataTable
          caption="Test perplexity of each task at each sweep's best τ"
          columns={taskColumns}
          rows={value.tasks}
          keyOf={({ name }) => name}
        />
      )}
      <Facts sweeps={value.sweeps} />
    </>
  );
}

function Compared_({ sweeps }: { sweeps: readonly string[] }) {
  const path = `${pagePaths.compare}?sweeps=${sweeps.map(encodeURIComponent).join(",")}`;
  const { value, error } = useResource(path, Comparison, { everyMs: 10_000 });
  return (
    <>
      {error !== null && <ErrorNotice error={error} />}
      {value !== null && <Side value={value} />}
    </>
  );
}

export function CompareView() {
  useTitle("Compare");
  const { value, error } = useResource(pagePaths.sweeps, SweepList);
  const [chosen, choose] = useChosen();
  return (
    <>
      <h1>Compare</h1>
      {error !== null && <ErrorNotice error={error} />}
      <fieldset className="chooser">
        <legend>Sweeps, at most {mostCompared}</legend>
        {value?.sweeps.map(({ sweepId }) => (
          <label key={sweepId}>
            <input
              type="checkbox"
              checked={chosen.includes(sweepId)}
              disabled={!chosen.includes(sweepId) && chosen.length >= mostCompared}
              onChange={({ target }) => {
                choose(sweepId, target.checked);
              }}
            />{" "}
            {sweepId}
          </label>
        ))}
        {value?.sweeps.length === 0 && <p className="empty">No sweep yet.</p>}
      </fieldset>
      {chosen.length > 0 ? (
        <Compared_ sweeps={chosen} />
      ) : (
        <p className="empty">Choose sweeps to see them side by side.</p>
      )}
    </>
  );
}
