export interface Placed<Label> {
  label: Label;
  at: number;
}

/**
 * Moves labels apart along one axis until neighbours are `gap` away, each as near to where it belongs as the others let
 * it (pool adjacent violators), and all within [low, high]. Returned in ascending order.
 */
export function spreadLabels<Label>(
  wanted: readonly Placed<Label>[],
  gap: number,
  [low, high]: readonly [number, number],
): Placed<Label>[] {
  const sorted = wanted.toSorted((a, b) => a.at - b.at);
  const groups: { sum: number; size: number }[] = [];
  sorted.forEach(({ at }, index) => {
    groups.push({ sum: at - index * gap, size: 1 });
    for (
      let last = groups.at(-1), before = groups.at(-2);
      last && before;
      last = groups.at(-1), before = groups.at(-2)
    ) {
      if (before.sum / before.size <= last.sum / last.size) break;
      groups.splice(-2, 2, { sum: before.sum + last.sum, size: before.size + last.size });
    }
  });
  const free = groups.flatMap(({ sum, size }) => Array.from({ length: size }, () => sum / size));
  const limit = high - (sorted.length - 1) * gap;
  return sorted.map(({ label }, index) => ({
    label,
    at: Math.max(low, Math.min(free[index] ?? low, limit)) + index * gap,
  }));
}
