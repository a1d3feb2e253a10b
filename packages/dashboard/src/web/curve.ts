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
    return this.stretches(most).map(([from, to]) => {
      let [sum, count] = [0, 0];
      for (let row = from; row < to; row += 1) {
        sum += at(this.cells, row, SUM);
        count += at(this.cells, row, COUNT);
      }
      return { step: at(this.cells, to - 1, LAST), value: sum / count };
    });
  }

  /** At most `most` points of the curve itself, the lowest and the highest of each stretch: no peak is lost. */
  extremes(most: number): CurvePoint[] {
    const single = this.rows <= most && this.width === 1;
    return this.stretches(single ? most : Math.max(1, Math.floor(most / 2))).flatMap(([from, to]) => {
      let [lowest, highest] = [from, from];
      for (let row = from + 1; row < to; row += 1) {
        if (at(this.cells, row, LOW) < at(this.cells, lowest, LOW)) lowest = row;
        if (at(this.cells, row, HIGH) > at(this.cells, highest, HIGH)) highest = row;
      }
      const low = { step: at(this.cells, lowest, LOW_STEP), value: at(this.cells, lowest, LOW) };
      const high = { step: at(this.cells, highest, HIGH_STEP), value: at(this.cells, highest, HIGH) };
      return low.step === high.step ? [low] : low.step < high.step ? [low, high] : [high, low];
    });
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

  /** Rows from and to, at most `most` stretches of them: as wide as halving the curve so often would make its buckets. */
  private stretches(most: number): [from: number, to: number][] {
    for (let width = 1; ; width *= 2) {
      const found = this.stretchesOf(width, most);
      if (found !== null) return found;
    }
  }

  private stretchesOf(width: number, most: number): [number, number][] | null {
    const found: [number, number][] = [];
    let last = -1;
    for (let row = 0; row < this.rows; row += 1) {
      const index = Math.floor(at(this.cells, row, INDEX) / width);
      const open = found.at(-1);
      if (index === last && open !== undefined) open[1] = row + 1;
      else if (found.length === most) return null;
      else found.push([row, row + 1]);
      last = index;
    }
    return found;
  }
}

const at = (cells: Float64Array, row: number, column: number): number => cells[row * COLUMNS + column] ?? NaN;
