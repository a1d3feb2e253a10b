import type { SpeakRequest, TextSource } from "../../web/page-api.ts";

export interface Asked extends SpeakRequest {
  sweepId: string;
}

const defaults = { seed: 0, maxTokens: 60, temperature: 0.8, topP: 0.95 };

export const sourceKey = (source: TextSource): string =>
  source.at === "base"
    ? "base"
    : source.at === "prior-mean"
      ? `theta ${source.trialId}`
      : `task ${source.trialId} ${source.task}`;

function sourceOf(text: string, sweepId: string): TextSource[] {
  const [at, trialId, ...task] = text.split(" ");
  if (at === "base") return [{ at: "base", sweepId }];
  if (at === "theta" && trialId !== undefined) return [{ at: "prior-mean", sweepId, trialId }];
  if (at === "task" && trialId !== undefined && task.length > 0)
    return [{ at: "task", sweepId, trialId, task: task.join(" ") }];
  return [];
}

/** What an address asks for; whatever is not in it or is no number is the default. */
export function readRequest(search: URLSearchParams, firstSweep: string): Asked {
  const number = (name: string, otherwise: number): number => {
    const value = Number(search.get(name) ?? NaN);
    return Number.isFinite(value) ? value : otherwise;
  };
  const sweepId = search.get("sweep") ?? firstSweep;
  return {
    sweepId,
    prompt: search.get("prompt") ?? "",
    seed: number("seed", defaults.seed),
    maxTokens: number("tokens", defaults.maxTokens),
    temperature: number("temperature", defaults.temperature),
    topP: number("top-p", defaults.topP),
    sources: search.getAll("voice").flatMap((text) => sourceOf(text, sweepId)),
  };
}

export function writeRequest(asked: Asked): URLSearchParams {
  const search = new URLSearchParams({ sweep: asked.sweepId });
  if (asked.prompt !== "") search.set("prompt", asked.prompt);
  const numbers = [
    ["seed", asked.seed, defaults.seed],
    ["tokens", asked.maxTokens, defaults.maxTokens],
    ["temperature", asked.temperature, defaults.temperature],
    ["top-p", asked.topP, defaults.topP],
  ] as const;
  for (const [name, value, usual] of numbers) if (value !== usual) search.set(name, String(value));
  for (const source of asked.sources) search.append("voice", sourceKey(source));
  return search;
}
