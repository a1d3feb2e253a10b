import { formatTau, type ExperimentSpec } from "@bora/contracts";
import { openStore } from "@bora/store";
import { chooseTrials } from "./export/choose-adapters.js";
import type { TextSource } from "./generate-request.js";
import { storeLocation } from "./store-location.js";
import { findTask, sweepFacts } from "./sweep-facts.js";

/** Whose texts are wanted, in words; nothing said means the base, Theta and tasks at the best trial. */
export interface SourceChoice {
  taus?: readonly number[];
  trialIds?: readonly string[];
  tasks?: readonly string[]; // names or slugs
  base?: boolean;
  priorMean?: boolean;
  folders?: readonly string[]; // absolute
}

export interface ChosenSources {
  model: ExperimentSpec["model"]; // the sweep's base
  sources: { source: TextSource; label: string }[];
  leftOut: string[]; // tasks beyond the first few, when none was named
}

/** So many tasks are shown when none is named. */
const shownTasks = 6;

/** The sources that a choice means, with a label each. Throws sweep_unknown, trial_unknown, task_unknown. */
export async function chooseSources(
  { dir }: { dir: string },
  sweepId: string,
  choice: SourceChoice,
): Promise<ChosenSources> {
  const store = openStore({ ...storeLocation(dir), mode: "read" });
  try {
    const facts = await sweepFacts(dir, sweepId, () => store);
    const { tasks = [], folders = [] } = choice;
    const all = tasks.length + folders.length === 0 && choice.base !== true && choice.priorMean !== true;
    const named = all ? facts.tasks : tasks.map((task) => findTask(facts, task));
    const shown = all ? named.slice(0, shownTasks) : named;
    const trials = chooseTrials(facts, choice);
    const of = ({ id, tau, seed }: (typeof trials)[number]) => {
      const alone = trials.filter((other) => other.tau === tau).length === 1;
      const words = `tau ${formatTau(tau)}${alone ? "" : `, seed ${seed}`}`;
      return { ids: { sweepId, trialId: id }, words };
    };
    const sources: ChosenSources["sources"] = [];
    if (all || choice.base === true) sources.push({ source: { at: "base" }, label: "base model" });
    for (const { ids, words } of trials.map(of)) {
      if (all || choice.priorMean === true)
        sources.push({ source: { at: "prior-mean", ...ids }, label: `Theta, ${words}` });
      for (const { name, slug } of shown)
        sources.push({ source: { at: "task", ...ids, task: slug }, label: `${name}, ${words}` });
    }
    for (const path of folders) sources.push({ source: { at: "folder", path }, label: path });
    return { model: facts.experiment.model, sources, leftOut: named.slice(shown.length).map(({ name }) => name) };
  } finally {
    await (await store.catch(() => null))?.[Symbol.asyncDispose]();
  }
}
