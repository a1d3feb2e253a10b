import { join } from "node:path";
import { formatTau } from "@bora/contracts";
import { bestDone, findTask, findTrial, type SweepFacts, type TaskFacts, type TrialFacts } from "../sweep-facts.js";
import { adapterFolder } from "../text-lab.js";
import type { ExportedAdapter, ExportRequest } from "./export-request.js";

/** An adapter that will be written, with where it lies now. */
export interface ChosenAdapter {
  entry: ExportedAdapter;
  task: TaskFacts | null; // null: Theta
  trial: TrialFacts;
  source: string; // its folder
}

/** The trials that are meant, each once. Throws trial_unknown. */
export function chooseTrials(facts: SweepFacts, request: Pick<ExportRequest, "taus" | "trialIds">): TrialFacts[] {
  const { taus = [], trialIds = [] } = request;
  const chosen = [...trialIds.map((id) => findTrial(facts, id)), ...taus.map((tau) => bestDone(facts, tau))];
  if (chosen.length === 0) chosen.push(bestDone(facts));
  return [...new Set(chosen)];
}

function chooseTasks(facts: SweepFacts, { tasks, priorMean }: ExportRequest): (TaskFacts | null)[] {
  if (tasks === undefined && priorMean === undefined) return [...facts.tasks, null];
  const named = (tasks ?? []).map((task) => findTask(facts, task));
  const withTheta: (TaskFacts | null)[] = priorMean === true ? [null] : [];
  return [...new Set([...(tasks === undefined && priorMean === false ? facts.tasks : named), ...withTheta])];
}

/** `farmer`; with several trials `farmer-tau-1e3`, and the seed where two have one tau. */
function nameOf(slug: string, trial: TrialFacts, trials: readonly TrialFacts[]): string {
  if (trials.length === 1) return slug;
  const name = `${slug}-tau-${formatTau(trial.tau)}`;
  return trials.filter(({ tau }) => tau === trial.tau).length === 1 ? name : `${name}-seed-${trial.seed}`;
}

/** Every adapter of a request, trial by trial. Throws trial_unknown, task_unknown, adapter_unreadable. */
export async function chooseAdapters(facts: SweepFacts, request: ExportRequest): Promise<ChosenAdapter[]> {
  const trials = chooseTrials(facts, request);
  const tasks = chooseTasks(facts, request);
  const parent = request.format === "vllm" ? "adapters" : "";
  const pairs = trials.flatMap((trial) => tasks.map((task) => ({ trial, task, slug: task?.slug ?? "prior-mean" })));
  return Promise.all(
    pairs.map(async ({ trial, task, slug }) => {
      const name = nameOf(slug, trial, trials);
      const ids = { trialId: trial.id, tau: trial.tau };
      const entry = { name, task: task?.name ?? null, ...ids, folder: join(parent, name) };
      return { entry, task, trial, source: await adapterFolder(facts, trial.id, slug) };
    }),
  );
}
