import { Link } from "wouter";
import type { PackRow, SweepView, TaskRow, TauRow, TrialRow } from "../../web/page-api.ts";
import { Bar } from "../parts/notices.tsx";
import { DataTable, type Column } from "../parts/table.tsx";
import { bytes, duration, formatTau, nats, nothing, percent, perplexity, rate, whole } from "../words.ts";

const tauName = (tau: number): string =>
  `${formatTau(tau)}${tau === 0 ? " independent" : tau === Infinity ? " shared" : ""}`;

const tauColumns: Column<TauRow>[] = [
  { head: "τ", text: true, cell: ({ tau, best }) => `${tauName(tau)}${best ? " ●" : ""}` },
  { head: "seeds", cell: ({ seeds }) => seeds, wide: true },
  { head: "validation", cell: ({ validation }) => perplexity(validation) },
  { head: "test, macro", cell: ({ test }) => perplexity(test) },
  { head: "test, micro", cell: ({ micro }) => perplexity(micro), wide: true },
  { head: "vs τ = 0", cell: ({ againstIndependent }) => percent(againstIndependent) },
  { head: "vs τ = inf", cell: ({ againstShared }) => percent(againstShared) },
  { head: "Θ alone", cell: ({ priorMean }) => perplexity(priorMean), wide: true },
];

export function TauTable({ sweep }: { sweep: SweepView }) {
  return (
    <section aria-labelledby="taus">
      <h2 id="taus">By τ</h2>
      <DataTable
        caption="Perplexity by τ; ● best by validation"
        columns={tauColumns}
        rows={sweep.taus}
        keyOf={({ tau }) => String(tau)}
        markOf={({ best }) => (best ? "best" : undefined)}
      />
    </section>
  );
}

const taskColumns = (sweepId: string): Column<TaskRow>[] => [
  {
    head: "task",
    text: true,
    cell: ({ name, slug }) => (
      <Link href={`/sweeps/${encodeURIComponent(sweepId)}/tasks/${encodeURIComponent(slug)}`}>{name}</Link>
    ),
  },
  { head: "train", cell: ({ documents }) => whole(documents.train) },
  { head: "base", cell: ({ base }) => perplexity(base), wide: true },
  { head: "τ = 0", cell: ({ independent }) => perplexity(independent) },
  { head: "best τ", cell: ({ best }) => perplexity(best) },
  { head: "τ = inf", cell: ({ shared }) => perplexity(shared) },
  { head: "vs 0", cell: ({ againstIndependent }) => percent(againstIndependent) },
  { head: "vs inf", cell: ({ againstShared }) => percent(againstShared), wide: true },
];

export function TaskTable({ sweep }: { sweep: SweepView }) {
  return (
    <section aria-labelledby="tasks">
      <h2 id="tasks">Where sharing pays</h2>
      <DataTable
        caption="Test perplexity by task, largest first"
        columns={taskColumns(sweep.sweepId)}
        rows={sweep.tasks}
        keyOf={({ slug }) => slug}
      />
    </section>
  );
}

function stateOf({ at, failure, ended, steps }: TrialRow): string {
  if (at === "failed") return failure ?? "failed";
  if (at === "adopted") return "done before";
  if (at !== "done") return at;
  return ended === "limit" ? `step limit ${steps ?? ""}` : `done @${steps ?? ""}`;
}

const trialColumns: Column<TrialRow>[] = [
  { head: "τ", cell: ({ tau }) => formatTau(tau) },
  { head: "seed", cell: ({ seed }) => seed, wide: true },
  { head: "state", text: true, cell: (trial) => stateOf(trial) },
  { head: "train", cell: ({ train }) => nats(train) },
  { head: "validation", cell: ({ validation }) => nats(validation) },
  { head: "best step", cell: ({ bestStep }) => whole(bestStep) },
  { head: "test perpl.", cell: ({ test }) => perplexity(test) },
  { head: "trial", text: true, cell: ({ id }) => <code>{id}</code>, wide: true },
];

export function TrialTable({ sweep }: { sweep: SweepView }) {
  return (
    <section aria-labelledby="trials">
      <h2 id="trials">Trials</h2>
      <DataTable
        caption="Trials; train and validation in nats a token"
        columns={trialColumns}
        rows={sweep.trials}
        keyOf={({ id }) => id}
        markOf={({ at }) => (at === "failed" ? "failed" : undefined)}
        most={50}
      />
    </section>
  );
}

const packColumns = (maxSteps: number): Column<PackRow>[] => [
  { head: "pack", cell: ({ number }) => number },
  { head: "state", text: true, cell: ({ at, note }) => <span className="note">{note === "" ? at : note}</span> },
  {
    head: "step",
    text: true,
    cell: ({ step, number }) => (
      <span className="share">
        <Bar share={step / Math.max(1, maxSteps)} label={`steps of pack ${number}`} />
        {step}/{maxSteps}
      </span>
    ),
  },
  { head: "tok/s", cell: ({ at, tokensPerSecond }) => (at === "training" ? rate(tokensPerSecond) : nothing) },
  { head: "ETA ≤", cell: ({ msLeft }) => duration(msLeft) },
  { head: "rows", cell: ({ rows }) => rows },
  { head: "device", text: true, cell: ({ device }) => device, wide: true },
  { head: "planned", cell: ({ plannedBytes }) => bytes(plannedBytes), wide: true },
  { head: "peak", cell: ({ peakBytes }) => bytes(peakBytes), wide: true },
];

const order: Record<PackRow["at"], number> = { training: 0, starting: 1, waiting: 2, finished: 3 };

export function PackTable({ sweep }: { sweep: SweepView }) {
  const rows = sweep.packs.toSorted((a, b) => order[a.at] - order[b.at] || a.number - b.number);
  const waiting = sweep.packCount - sweep.packs.length;
  return (
    <section aria-labelledby="packs">
      <h2 id="packs">Packs</h2>
      <DataTable
        caption={`Trials that one trainer trains together${waiting > 0 ? `; ${waiting} packs wait for a trainer` : ""}`}
        columns={packColumns(sweep.maxSteps)}
        rows={rows}
        keyOf={({ number }) => String(number)}
        most={12}
      />
    </section>
  );
}
