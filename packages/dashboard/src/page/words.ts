import { formatTau } from "@bora/contracts/tau";
import type { Standing } from "../web/page-api.ts";

export { formatTau };

/** Numbers as people read them; an em space wide nothing where there is none, so that columns keep their shape. */
export const nothing = "\u2013";

export const perplexity = (value: number | null): string =>
  value === null ? nothing : value < 1e5 ? value.toFixed(value < 1000 ? 2 : 1) : value.toExponential(1);

export const nats = (value: number | null): string => (value === null ? nothing : value.toFixed(4));

export const percent = (value: number | null): string =>
  value === null ? nothing : `${value > 0 ? "+" : value < 0 ? "\u2212" : ""}${Math.abs(value).toFixed(1)} %`;

export const whole = (value: number | null): string => (value === null ? nothing : value.toLocaleString("en"));

export function bytes(value: number | null): string {
  if (value === null) return nothing;
  const gib = value / 2 ** 30;
  return gib >= 1 ? `${gib.toFixed(1)} GiB` : `${Math.round(value / 2 ** 20)} MiB`;
}

/** 75 s as 1:15, 3,700 s as 1:01:40. */
export function duration(ms: number | null): string {
  if (ms === null) return nothing;
  const total = Math.max(0, Math.round(ms / 1000));
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes, seconds] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

export function rate(value: number): string {
  return value >= 1e4
    ? `${(value / 1e3).toFixed(0)}k`
    : value >= 1e3
      ? `${(value / 1e3).toFixed(1)}k`
      : value.toFixed(0);
}

export const time = (ms: number): string => new Date(ms).toLocaleString("sv").slice(0, 16);
export const clock = (ms: number): string => new Date(ms).toLocaleTimeString("sv");

export const standingWords: Record<Standing, string> = {
  ...{ running: "running", paused: "paused", draining: "stopping at a checkpoint", cancelling: "cancelling" },
  ...{ left: "left off, resumable", unknown: "asking its controller\u2026", done: "done", failed: "a trial failed" },
  ...{ stopped: "stopped", interrupted: "interrupted, resumable", cancelled: "cancelled" },
};

export const isLive = (standing: Standing): boolean =>
  ["running", "paused", "draining", "cancelling", "unknown"].includes(standing);

export const isResumable = (standing: Standing): boolean =>
  ["left", "paused", "stopped", "interrupted", "cancelled"].includes(standing);
