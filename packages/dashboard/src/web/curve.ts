export interface CurvePoint {
  step: number;
  value: number;
}

// Columns of a bucket.
const [INDEX, COUNT, SUM, LAST, LOW, LOW_STEP, HIGH, HIGH_STEP, COLUMNS] = [0, 1, 2, 3, 4, 5, 6, 7, 8] as const;

/**
 * A curve in bounded memory: at most `capacity` buckets of equal width in steps, which doubles when they do not suffice.
 * The same points give the same buckets, in whatever portions they came. Numbers in one array: a sweep has thousands of
 * curves, and objects for their buckets kept the garbage collector busier than everything else.
 */
export class Curve {
  private readonly cells: Float64Array; // a row a bucket
  private width = 1;
  private newest = -1;
  private rows = 0;

  constructor(private readonly capacity: number) {
    this.cells = new Float64Array((capacity + 2) * COLUMNS);
  }

  /** Buckets. */
  get size(): number {
    return this.rows;
  }

  /** Steps that were seen already (a resumed run repeats them) and values that are not finite are left out. */
  add(step: number, value: number | null): void {
    if (step <= this.newest) return;
    this.newest = step;
    if (value === null || !Number.isFinite(value)) return;
    const index = Math.floor(step / this.width);
    this.write(this.rows, index, step, value);
    if (this.rows > 0 && at(this.cells, this.rows - 1, INDEX) === index) this.join(this.rows - 1, this.rows);
    else this.rows += 1;
    while (this.rows > this.capacity) this.halve();
  }

  /** At most `most` means, each at the last step it is of: for values that scatter. */
  means(most: number): CurvePoint[] {
    const { cells, rows } = this.thinned(most);
    return Array.from({ length: rows }, (_, row) => ({
      step: at(cells, row, LAST),
      value: at(cells, row, SUM) / at(cells, row, COUNT),
    }));
  }

  /** At most `most` points of the curve itself, the lowest and the highest of each stretch: no peak is lost. */
  extremes(most: number): CurvePoint[] {
    const single = this.rows <= most && this.width === 1;
    const { cells, rows } = single ? this : this.thinned(Math.max(1, Math.floor(most / 2)));
    return Array.from({ length: rows }, (_, row) => {
      const low = { step: at(cells, row, LOW_STEP), value: at(cells, row, LOW) };
      const high = { step: at(cells, row, HIGH_STEP), value: at(cells, row, HIGH) };
      return low.step === high.step ? [low] : low.step < high.step ? [low, high] : [high, low];
    }).flat();
  }

  /** A bucket of one point. */
  private write(row: number, index: number, step: number, value: number): void {
    const { cells } = this;
    const to = row * COLUMNS;
    cells[to + INDEX] = index;
    cells[to + COUNT] = 1;
    cells[to + SUM] = cells[to + LOW] = cells[to + HIGH] = value;
    cells[to + LAST] = cells[to + LOW_STEP] = cells[to + HIGH_STEP] = step;
  }

  /** Twice the width, in place. */
  private halve(): void {
    const { cells, rows } = this;
    let last = -1; // row written last
    for (let row = 0; row < rows; row += 1) {
      const index = Math.floor(at(cells, row, INDEX) / 2);
      if (last >= 0 && at(cells, last, INDEX) === index) this.join(last, row);
      else {
        last += 1;
        cells.copyWithin(last * COLUMNS, row * COLUMNS, (row + 1) * COLUMNS);
        cells[last * COLUMNS + INDEX] = index;
      }
    }
    this.rows = last + 1;
    this.width *= 2;
  }

  /** Adds to a bucket what a later one holds. */
  private join(into: number, row: number): void {
    const { cells } = this;
    const [to, from] = [into * COLUMNS, row * COLUMNS];
    cells[to + COUNT] = at(cells, into, COUNT) + at(cells, row, COUNT);
    cells[to + SUM] = at(cells, into, SUM) + at(cells, row, SUM);
    cells[to + LAST] = at(cells, row, LAST);
    if (at(cells, row, LOW) < at(cells, into, LOW)) cells.copyWithin(to + LOW, from + LOW, from + HIGH);
    if (at(cells, row, HIGH) > at(cells, into, HIGH)) cells.copyWithin(to + HIGH, from + HIGH, from + COLUMNS);
  }

  private thinned(most: number): Curve {
    if (this.rows <= most) return this;
    const copy = new Curve(this.capacity);
    copy.cells.set(this.cells);
    [copy.rows, copy.width] = [this.rows, this.width];
    while (copy.rows > most) copy.halve();
    return copy;
  }
}

const at = (cells: Float64Array, row: number, column: number): number => cells[row * COLUMNS + column] ?? NaN;
