import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { BoraError, formatTau, parseTau } from "@bora/contracts";
import type { FinishedSweep } from "./finished-sweep.js";
import { chooseTheta } from "./theta-choice.js";

/** An adapter to score: `path` is a folder in PEFT's format; without one it is the base model. */
export interface NamedAdapter {
  name: string;
  path?: string;
}

const priorMean = new Set(["theta", "prior-mean"]);

function split(words: string): { what: string; tau: number | null } {
  const at = words.lastIndexOf("@");
  if (at < 0) return { what: words, tau: null };
  try {
    return { what: words.slice(0, at), tau: parseTau(words.slice(at + 1)) };
  } catch {
    return { what: words, tau: null }; // an @ of the name itself
  }
}

/**
 * What a person calls an adapter: `base`, a folder in PEFT's format, or of a finished sweep `theta`, a task's name or
 * slug, each with `@tau` (the best by validation when left out). Throws adapter_unreadable, trial_unknown, usage.
 */
export function namedAdapter(words: string, sweep: FinishedSweep | null, cwd: string): NamedAdapter {
  if (words === "base") return { name: "base" };
  const folder = resolve(cwd, words);
  if (existsSync(join(folder, "adapter_config.json"))) return { name: basename(folder), path: folder };
  if (sweep === null)
    throw new BoraError("adapter_unreadable", `${folder} has no adapter_config.json`, {
      hint: "name an adapter folder in PEFT's format, or a sweep whose tasks the other names are of",
    });
  return ofSweep(words, sweep);
}

function ofSweep(words: string, sweep: FinishedSweep): NamedAdapter {
  const { what, tau } = split(words);
  const { tasks } = sweep.results.data;
  const task = tasks.find(({ name, slug }) => name === what || slug === what);
  const slug = priorMean.has(what.toLowerCase()) ? "prior-mean" : task?.slug;
  if (slug === undefined)
    throw new BoraError("usage", `${words} is no adapter folder and no task of ${sweep.results.sweepId}`, {
      hint: `name base, theta, or one of ${tasks.map((one) => one.slug).join(", ")}, with @tau if not the best one`,
    });
  const { trial, tau: chosen } = trialOf(sweep, tau, slug);
  return { name: `${what}@${formatTau(chosen)}`, path: join(sweep.folder, "adapters", trial, slug) };
}

/** Theta at 0 is the mean of adapters that nothing ties; whoever names it gets it. */
function trialOf({ results }: FinishedSweep, tau: number | null, slug: string): { trial: string; tau: number } {
  if (tau === 0 || (tau === null && slug !== "prior-mean" && results.best?.tau === 0)) {
    const done = results.trials.find((one) => one.tau === 0 && one.state === "done");
    if (done !== undefined) return { trial: done.id, tau: 0 };
  }
  const { trial, tau: chosen } = chooseTheta(results, tau ?? "auto");
  return { trial: trial.id, tau: chosen };
}
