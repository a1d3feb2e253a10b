import { progress } from "@bora/sdk/controller";

export const { duration, many, nats, perplexity, short } = progress; // the page says them alike

export const bar = (share: number, width: number): string => {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return "█".repeat(full) + "░".repeat(width - full);
};

/** Values over time in one character each, lowest at the bottom; the newest `width` of them. */
export function sparkline(values: readonly (number | null)[], width: number): string {
  const shown = values.slice(-width);
  const known = shown.filter((value) => value !== null);
  const low = Math.min(...known);
  const range = Math.max(...known) - low;
  const level = (value: number) => (range === 0 ? 0 : Math.round(((value - low) / range) * 7));
  return shown.map((value) => (value === null ? "?" : ("▁▂▃▄▅▆▇█"[level(value)] ?? "?"))).join("");
}

/** Cut to a width, with a sign that something is missing. */
export const clip = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
