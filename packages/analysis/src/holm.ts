/**
 * Holm's step-down adjustment (1979): p-values such that calling those at most alpha different errs in any of them with
 * probability at most alpha, whatever their dependence. Same order as given.
 */
export function holm(ps: readonly number[]): number[] {
  const adjusted = new Array<number>(ps.length);
  let floor = 0;
  const ascending = ps.map((p, index) => ({ p, index })).toSorted((a, b) => a.p - b.p);
  for (const [rank, { p, index }] of ascending.entries()) {
    floor = Math.max(floor, Math.min(1, (ps.length - rank) * p));
    adjusted[index] = floor;
  }
  return adjusted;
}
