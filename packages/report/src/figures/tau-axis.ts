import { formatTau } from "@bora/contracts/tau";

export interface TauTick {
  tau: number;
  at: number; // position on the axis, in decades
  label: string;
}

const byValue = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

/**
 * Where each tau of a grid stands on a symlog-like axis: finite ones at their decade, 0 and infinity one step beyond the
 * outermost of them, with their names.
 */
export function tauAxis(taus: readonly number[]): TauTick[] {
  const grid = [...new Set(taus)].toSorted(byValue);
  const decades = grid.filter((tau) => tau > 0 && tau < Infinity).map(Math.log10);
  const [low = 0, high = 0] = [decades[0], decades.at(-1)];
  const step = Math.max(1, (high - low) / 8);
  return grid.map((tau) => {
    if (tau === 0) return { tau, at: low - step, label: "0\nindependent" };
    if (tau === Infinity) return { tau, at: high + step, label: "inf\nshared" };
    return { tau, at: Math.log10(tau), label: formatTau(tau) };
  });
}

/** The ticks whose labels fit when each needs `room` on the axis: both ends, and from the left what does not overlap. */
export function readableTicks(ticks: readonly TauTick[], room: number): TauTick[] {
  const last = ticks.at(-1);
  const kept: TauTick[] = [];
  for (const tick of ticks) {
    const before = kept.at(-1);
    const fits = before === undefined || tick.at - before.at >= room;
    if (tick === last || (fits && (last === undefined || last.at - tick.at >= room))) kept.push(tick);
  }
  return kept;
}
