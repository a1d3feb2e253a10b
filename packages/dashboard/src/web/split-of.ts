import type { SplitResult } from "@bora/contracts";

interface TaskNats {
  task: number; // place in the plan
  nats: number | null;
  tokens: number;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Perplexities of a split from an event's nats; null where a task is missing or not finite. docs/method.md, section 9. */
export function splitOf(scored: readonly TaskNats[], names: readonly string[]): SplitResult | null {
  const tasks = scored.flatMap(({ task, nats, tokens }) => {
    const name = names[task];
    if (name === undefined || nats === null || tokens === 0) return [];
    return [{ name, nats, tokens, perplexity: Math.exp(nats / tokens) }];
  });
  if (tasks.length < names.length || tasks.length === 0) return null;
  const [nats, tokens] = [sum(tasks.map((task) => task.nats)), sum(tasks.map((task) => task.tokens))];
  return {
    macroPerplexity: Math.exp(sum(tasks.map((task) => task.nats / task.tokens)) / tasks.length),
    microPerplexity: Math.exp(nats / tokens),
    ...{ nats, tokens, tasks },
  };
}
