import { Link } from "wouter";
import { pagePaths, SweepList, type SweepRow } from "../../web/page-api.ts";
import { Bar, ErrorNotice, StandingBadge } from "../parts/notices.tsx";
import { DataTable, type Column } from "../parts/table.tsx";
import { useResource } from "../use-resource.ts";
import { formatTau, nothing, perplexity, time, whole } from "../words.ts";
import { useTitle } from "../use-title.ts";

const address = (sweepId: string): string => `/sweeps/${encodeURIComponent(sweepId)}`;

const columns: Column<SweepRow>[] = [
  {
    head: "sweep",
    text: true,
    cell: ({ sweepId, name }) => (
      <Link href={address(sweepId)}>
        {name}
        <span className="soft">{sweepId.slice(name.length)}</span>
      </Link>
    ),
  },
  { head: "state", text: true, cell: ({ standing }) => <StandingBadge standing={standing} /> },
  {
    head: "trials",
    text: true,
    cell: ({ trials, sweepId }) => (
      <span className="share">
        <Bar share={trials.ended / Math.max(1, trials.all)} label={`trials of ${sweepId} that ended`} />
        {trials.ended}/{trials.all}
        {trials.failed > 0 && <em className="bad"> {trials.failed} failed</em>}
      </span>
    ),
  },
  { head: "best τ", cell: ({ best }) => (best === null ? nothing : formatTau(best.tau)) },
  { head: "test perplexity", cell: ({ best }) => perplexity(best?.perplexity ?? null) },
  { head: "tasks", cell: ({ tasks }) => whole(tasks), wide: true },
  { head: "τs", cell: ({ taus }) => whole(taus), wide: true },
  { head: "model", text: true, cell: ({ model }) => <span className="path">{model}</span>, wide: true },
  { head: "planned", cell: ({ plannedAtMs }) => time(plannedAtMs) },
];

export function SweepsView() {
  useTitle("Sweeps");
  const { value, error } = useResource(pagePaths.sweeps, SweepList, { everyMs: 3_000 });
  return (
    <>
      <h1>Sweeps</h1>
      {error !== null && <ErrorNotice error={error} />}
      {value?.sweeps.length === 0 && (
        <p className="empty">
          No sweep yet. <code>npx bora sweep --spec my.yaml</code> begins one, and it appears here.
        </p>
      )}
      {value !== null && value.sweeps.length > 0 && (
        <DataTable caption="Sweeps, newest first" columns={columns} rows={value.sweeps} keyOf={(row) => row.sweepId} />
      )}
    </>
  );
}
