interface Bucket {
  index: number; // of this width
  count: number;
  sum: number;
  lastStep: number;
  low: number;
  lowStep: number;
  high: number;
  highStep: number;
}

export interface CurvePoint {
  step: number;
  value: number;
}

/** Two neighbours as one of twice the width. */
const joined = (a: Bucket, b: Bucket): Bucket => ({
  ...{ index: a.index, count: a.count + b.count, sum: a.sum + b.sum, lastStep: b.lastStep },
  ...(b.low < a.low ? { low: b.low, lowStep: b.lowStep } : { low: a.low, lowStep: a.lowStep }),
  ...(b.high > a.high ? { high: b.high, highStep: b.highStep } : { high: a.high, highStep: a.highStep }),
});

function halved(buckets: readonly Bucket[]): Bucket[] {
  const kept: Bucket[] = [];
  for (const bucket of buckets) {
    const index = Math.floor(bucket.index / 2);
    const last = kept.at(-1);
    if (last?.index === index) kept[kept.length - 1] = joined(last, bucket);
    else kept.push({ ...bucket, index });
  }
  return kept;
}

/**
 * A curve in bounded memory: at most `capacity` buckets of equal width in steps, which double when they do not suffice.
 * The same points give the same buckets, in whatever portions they came.
 */
export class Curve {
  private buckets: Bucket[] = [];
  private width = 1;
  private newest = -1;

  constructor(private readonly capacity: number) {}

  /** Steps that were seen already (a resumed run repeats them) and values that are not finite are left out. */
  add(step: number, value: number | null): void {
    if (step <= this.newest) return;
    this.newest = step;
    if (value === null || !Number.isFinite(value)) return;
    const one = { count: 1, sum: value, lastStep: step, low: value, lowStep: step, high: value, highStep: step };
    const bucket: Bucket = { index: Math.floor(step / this.width), ...one };
    const last = this.buckets.at(-1);
    if (last?.index === bucket.index) this.buckets[this.buckets.length - 1] = joined(last, bucket);
    else this.buckets.push(bucket);
    while (this.buckets.length > this.capacity) {
      this.buckets = halved(this.buckets);
      this.width *= 2;
    }
  }

  get size(): number {
    return this.buckets.length;
  }

  /** At most `most` means, each at the last step it is of: for values that scatter. */
  means(most: number): CurvePoint[] {
    return this.thinned(most).map(({ sum, count, lastStep }) => ({ step: lastStep, value: sum / count }));
  }

  /** At most `most` points of the curve itself, the lowest and the highest of each stretch: no peak is lost. */
  extremes(most: number): CurvePoint[] {
    const single = this.buckets.every(({ count }) => count === 1) && this.buckets.length <= most;
    const buckets = single ? this.buckets : this.thinned(Math.max(1, Math.floor(most / 2)));
    return buckets.flatMap(({ low, lowStep, high, highStep }) => {
      const ends = [
        { step: lowStep, value: low },
        { step: highStep, value: high },
      ];
      return lowStep === highStep ? ends.slice(0, 1) : ends.toSorted((a, b) => a.step - b.step);
    });
  }

  private thinned(most: number): readonly Bucket[] {
    let buckets: readonly Bucket[] = this.buckets;
    while (buckets.length > most) buckets = halved(buckets);
    return buckets;
  }
}
