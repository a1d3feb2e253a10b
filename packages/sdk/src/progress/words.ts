/** Numbers as people read them on one line. */

/** 75 s as 1:15, 3 700 s as 1:01:40. */
export function duration(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  const [hours, minutes, seconds] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

/** 950, 1.2k, 38k, 1.3M. */
export function short(value: number): string {
  const scales = [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const;
  for (const [size, letter] of scales)
    if (value >= size) return `${(value / size).toFixed(value < 10 * size ? 1 : 0)}${letter}`;
  return value.toFixed(0);
}

export const many = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

export const nats = (value: number | null | undefined): string =>
  value === undefined ? "" : value === null ? "not finite" : value.toFixed(4);

/** exp(nats a token); what cannot be read as a number any more is in powers of ten. */
export function perplexity(natsPerToken: number | null | undefined): string {
  if (natsPerToken === undefined || natsPerToken === null) return "";
  const value = Math.exp(natsPerToken);
  return value < 1e5 ? value.toFixed(value < 100 ? 2 : 1) : value.toExponential(1);
}
