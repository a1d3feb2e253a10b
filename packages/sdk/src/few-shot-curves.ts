import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, formatTau, type DocumentRow, type ExperimentSpec, type FewShotCurves } from "@bora/contracts";
import { replaceFile } from "@bora/report";
import { toJson } from "./controller-api.js";
import { curvePoints, type LeftOut } from "./curve-points.js";
import { finishedSweep, type FinishedSweep } from "./finished-sweep.js";
import {
  derived,
  derivedName,
  onlyTrial,
  runToEnd,
  type Ended,
  type SeriesLab,
  type SeriesOptions,
} from "./sweep-series.js";
import { chooseTheta, type ThetaChoice } from "./theta-choice.js";

/** Which sweep, at which tau (nats), and after how many training documents a task. */
export interface FewShotRequest {
  sweepId: string;
  tau?: number | "auto";
  /** Tasks to leave out in turn; all of the sweep's when left out. */
  tasks?: readonly string[];
  /** Numbers of training documents beside 0 and all. */
  sizes?: readonly number[];
  set?: readonly string[];
}

/** The curves in nats per token, with intervals, and where the file is. */
export interface FewShotOutcome {
  curves: FewShotCurves;
  folder: string;
}

const usualSizes = [1, 2, 4, 8, 16, 32];

type Size = number | "all";
/** A task that was left out, and the two sweeps it took. */
type Trained = LeftOut & { ended: readonly [others: Ended, adapted: Ended] };
type Task = FinishedSweep["results"]["data"]["tasks"][number];

/** The tasks with the training documents that they had in the sweep. */
const selection = (tasks: readonly Task[]) => ({
  names: tasks.map(({ name }) => name),
  minDocuments: 0,
  trainDocuments: tasks.map(({ documents }) => documents.train),
});

class Plan {
  readonly tasks: readonly Task[];
  readonly sizes: readonly number[];
  private readonly own: ExperimentSpec;

  constructor(
    readonly sweep: FinishedSweep,
    readonly theta: ThetaChoice,
    private readonly request: FewShotRequest,
  ) {
    this.own = sweep.experiment;
    this.sizes = [...new Set(request.sizes ?? usualSizes)].toSorted((a, b) => a - b);
    const { tasks } = sweep.results.data;
    this.tasks = request.tasks === undefined ? tasks : tasks.filter(({ name }) => request.tasks?.includes(name));
  }

  private of(role: string, change: Parameters<typeof derived>[1]): ExperimentSpec {
    const name = derivedName(this.own.name, role);
    return derived(this.own, { ...change, name, partOf: this.sweep.results.sweepId }, this.request.set);
  }

  /** Theta without a task: the sweep of the others at the one tau. */
  others(task: Task): ExperimentSpec {
    const others = this.sweep.results.data.tasks.filter(({ name }) => name !== task.name);
    const prior = { ...this.own.prior, taus: [this.theta.tau] };
    return this.of(`without-${task.slug}`, { data: { ...this.own.data, tasks: selection(others) }, prior });
  }

  /** All sizes of one task under a Theta that is known: rows that do not meet, in one run. */
  adapted(task: Task, mean: string): ExperimentSpec {
    const { family } = this.own.prior;
    const prior = { family, tau0: 0, mean: { path: mean, fixed: true }, taus: [this.theta.tau] };
    return this.of(`few-${task.slug}`, { ...this.sized([task]), prior });
  }

  /** All sizes of all tasks from a fresh start: one run for them all. */
  scratch(): ExperimentSpec {
    return this.of("scratch", {
      ...this.sized(this.tasks),
      prior: { family: this.own.prior.family, tau0: 0, taus: [0] },
    });
  }

  private sized(tasks: readonly Task[]) {
    const sizes: Size[] = [...this.sizes, "all"];
    const data = { ...this.own.data, tasks: { ...selection(tasks), sizes } };
    return { data, train: { ...this.own.train, bestStep: "task" as const } };
  }
}

/** Documents of a task trained on `size` of its own, under its plain name. */
function bySize(task: Task, rows: readonly DocumentRow[]): (size: Size) => DocumentRow[] {
  const named = (size: Size) => rows.filter((row) => row.task === `${task.name} [${size}]`);
  return (size) => {
    const own = named(size);
    return (own.length > 0 ? own : named("all")).map((row) => ({ ...row, task: task.name }));
  };
}

async function leaveOut(
  lab: SeriesLab,
  plan: Plan,
  task: Task,
  scratch: readonly DocumentRow[],
  options: SeriesOptions,
): Promise<Trained> {
  const others = await runToEnd(lab, plan.others(task), `Theta without ${task.name}`, options);
  const mean = join(others.folder, "adapters", onlyTrial(others).id, "prior-mean");
  const few = await runToEnd(lab, plan.adapted(task, mean), `few documents of ${task.name}`, options);
  const trial = onlyTrial(few);
  const [base, theta, adapted] = await Promise.all([
    few.documents(null, "base"),
    few.documents(trial, "prior-mean"),
    few.documents(trial, "task"),
  ]);
  return {
    name: task.name,
    base: bySize(task, base)("all"),
    theta: bySize(task, theta)("all"),
    adapted: bySize(task, adapted),
    scratch: bySize(task, scratch),
    ended: [others, few],
  };
}

const sweepsOf = (left: readonly Trained[], scratch: Ended): FewShotCurves["sweeps"] => [
  ...left.flatMap(({ name, ended: [others, few] }) => [
    { task: name, role: "others" as const, sweepId: others.sweepId },
    { task: name, role: "adapted" as const, sweepId: few.sweepId },
  ]),
  { task: null, role: "scratch", sweepId: scratch.sweepId },
];

/** How trials ended decides what a curve is worth; what a sweep warns of its own intervals is not this one's. */
function warningsOf({ theta }: Plan, ended: readonly Ended[]): string[] {
  const limited = ended.filter(({ results }) => results.trials.some((trial) => trial.ended === "limit")).length;
  return [
    ...(limited > 0
      ? [`${limited} of ${ended.length} sweeps ended at the step limit while validation might still have improved`]
      : []),
    `tau = ${formatTau(theta.tau)} was chosen on a sweep of all tasks, the left-out ones' validation documents among them`,
    "validation documents, which decide when training stops, are not counted among the few",
  ];
}

function refuseTooFew({ tasks, sweep }: Plan, request: FewShotRequest): void {
  const all = sweep.results.data.tasks;
  const unknown = request.tasks?.filter((name) => all.every((task) => task.name !== name)) ?? [];
  const hint = `the sweep's tasks are ${all.map(({ name }) => name).join(", ")}`;
  if (unknown.length > 0)
    throw new BoraError("usage", `${sweep.results.sweepId} has no task ${unknown.join(", ")}`, { hint });
  if (all.length < 3 || tasks.length === 0)
    throw new BoraError(
      "usage",
      `leaving one of ${all.length} tasks out leaves ${all.length - 1} to learn Theta from`,
      {
        hint: "curves need a sweep of at least 3 tasks",
      },
    );
}

/**
 * Few-shot curves by leaving one task out: Theta of a sweep on the others, then an adapter of that task from 0, 1, 2, ...
 * documents with Theta fixed as its prior, beside training from scratch. Ordinary sweeps of the lab's folder: the same
 * call goes on with them. Throws as `adapt`.
 */
export async function fewShotCurves(
  lab: SeriesLab,
  request: FewShotRequest,
  options: SeriesOptions = {},
): Promise<FewShotOutcome> {
  const sweep = await finishedSweep(lab, lab.dir, request.sweepId);
  const plan = new Plan(sweep, chooseTheta(sweep.results, request.tau ?? "auto", { finite: true }), request);
  refuseTooFew(plan, request);
  const scratch = await runToEnd(lab, plan.scratch(), "every task from scratch", options);
  const rows = await scratch.documents(onlyTrial(scratch), "task");
  const left: Trained[] = [];
  for (const task of plan.tasks) left.push(await leaveOut(lab, plan, task, rows, options));
  const { points, differences } = curvePoints(left, [0, ...plan.sizes, "all"]);
  const curves: FewShotCurves = {
    ...{ schemaVersion: 1, sweepId: sweep.results.sweepId, tau: plan.theta.tau, tauChoice: plan.theta.words },
    model: scratch.results.model,
    tasks: plan.tasks.map(({ name, documents }) => ({
      ...{ name, trainDocuments: documents.train, testDocuments: documents.test },
    })),
    sizes: [0, ...plan.sizes, "all"],
    ...{ points, differences, sweeps: sweepsOf(left, scratch) },
    warnings: warningsOf(plan, [scratch, ...left.flatMap(({ ended }) => ended)]),
  };
  const folder = join(sweep.folder, "adapt", derivedName("curve", `tau-${formatTau(plan.theta.tau)}`));
  await mkdir(folder, { recursive: true });
  await replaceFile(join(folder, "few-shot.json"), `${JSON.stringify(JSON.parse(toJson(curves)), null, 2)}\n`);
  const { fewShot } = await import("@bora/report");
  await replaceFile(join(folder, "few-shot.svg"), fewShot(curves));
  return { curves, folder };
}
