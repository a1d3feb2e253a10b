import { Link } from "wouter";
import { pagePaths, Trainers, type TrainerRow } from "../../web/page-api.ts";
import { Bar, ErrorNotice } from "../parts/notices.tsx";
import { DataTable, type Column } from "../parts/table.tsx";
import { useResource } from "../use-resource.ts";
import { useTitle } from "../use-title.ts";
import { bytes, nothing, rate } from "../words.ts";

const columns: Column<TrainerRow>[] = [
  { head: "trainer", text: true, cell: ({ trainerId }) => <code>{trainerId}</code> },
  { head: "state", text: true, cell: ({ answers }) => (answers ? "answers" : "does not answer") },
  {
    head: "device",
    text: true,
    cell: ({ devices }) => devices.map(({ name, description }) => `${name} ${description}`).join(", ") || nothing,
  },
  {
    head: "device memory, free",
    cell: ({ devices }) =>
      devices.map(({ memoryBytes, freeBytes }) => `${bytes(freeBytes)} of ${bytes(memoryBytes)}`).join(", ") || nothing,
  },
  { head: "resident", cell: ({ residentBytes }) => bytes(residentBytes) },
  { head: "planned", cell: ({ pack }) => bytes(pack?.plannedBytes ?? null), wide: true },
  { head: "processors", cell: ({ cpuShare }) => (cpuShare === null ? nothing : cpuShare.toFixed(2)) },
  { head: "processes", cell: ({ processes }) => processes, wide: true },
  {
    head: "holds",
    text: true,
    cell: ({ pack, sweepId }) =>
      pack === null || sweepId === null ? (
        "nothing"
      ) : (
        <Link href={`/sweeps/${encodeURIComponent(sweepId)}`}>
          pack {pack.number} of {sweepId}
        </Link>
      ),
  },
  { head: "tok/s", cell: ({ pack }) => (pack?.at === "training" ? rate(pack.tokensPerSecond) : nothing) },
];

export function TrainersView() {
  useTitle("Trainers");
  const { value, error } = useResource(pagePaths.trainers, Trainers, { everyMs: 2_000 });
  const host = value?.host;
  return (
    <>
      <h1>Trainers</h1>
      {error !== null && <ErrorNotice error={error} />}
      {host !== undefined && (
        <dl className="numbers">
          <div className="figureless">
            <dt>machine</dt>
            <dd>{host.name}</dd>
          </div>
          <div className="figureless">
            <dt>load over {host.processors} processors</dt>
            <dd>
              {host.load.toFixed(2)}
              <Bar share={host.load / host.processors} label="load" />
            </dd>
          </div>
          <div className="figureless">
            <dt>memory in use</dt>
            <dd>
              {bytes(host.memoryBytes - host.freeBytes)} of {bytes(host.memoryBytes)}
              <Bar share={1 - host.freeBytes / host.memoryBytes} label="memory in use" />
            </dd>
          </div>
        </dl>
      )}
      {value?.trainers.length === 0 && (
        <p className="empty">No trainer runs on this machine. A sweep starts them and ends them by itself.</p>
      )}
      {value !== null && value.trainers.length > 0 && (
        <DataTable caption="Trainers" columns={columns} rows={value.trainers} keyOf={({ trainerId }) => trainerId} />
      )}
    </>
  );
}
