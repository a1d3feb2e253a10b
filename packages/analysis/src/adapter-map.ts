import { EigenvalueDecomposition, Matrix } from "ml-matrix";

/** Adapters as points in a plane: principal components of their changes of the weights. */
export interface AdapterMap {
  points: { task: string; x: number; y: number }[]; // in the unit of ||dW||_F
  explained: [x: number, y: number]; // shares of the variance, 0 to 1
}

/** Inner products about the mean instead of about Theta: J G J with J = I - 1/D. Exactly symmetric. */
function doubleCentred(gram: readonly (readonly number[])[]): Matrix {
  const given = new Matrix(gram.map((row) => [...row]));
  const symmetric = Matrix.add(given, given.transpose()).mul(0.5);
  return symmetric.center("row").center("column");
}

/** Of the two directions of an axis, the one that puts the task farthest out on the positive side. */
function oriented(coordinates: readonly number[]): number[] {
  const farthest = Math.max(...coordinates.map(Math.abs));
  const first = coordinates.find((value) => Math.abs(value) >= farthest * (1 - 1e-9)) ?? 0; // of ties, up to rounding
  return coordinates.map((value) => (first < 0 ? -value : value));
}

/**
 * Principal components from inner products alone: `gram` [D, D] holds <dW_d - dW_0, dW_e - dW_0>_F about any common
 * dW_0 (the trainer takes Theta's). Tasks close to each other change the model alike, whatever the gauge of their
 * factors. The same numbers give the same picture; where two shares are equal the axes may turn within their plane.
 */
export function adapterMap(tasks: readonly string[], gram: readonly (readonly number[])[]): AdapterMap {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(doubleCentred(gram), {
    assumeSymmetric: true,
  });
  const axes = realEigenvalues
    .map((value, column) => ({ variance: Math.max(value, 0), column })) // rounding can leave a small negative one
    .toSorted((a, b) => b.variance - a.variance);
  const all = axes.reduce((sum, { variance }) => sum + variance, 0);
  const axis = (rank: number) => {
    const { variance, column } = axes[rank] ?? { variance: 0, column: 0 };
    const vector = eigenvectorMatrix.getColumn(column).map((value) => value * Math.sqrt(variance));
    return { coordinates: oriented(vector), share: all > 0 ? variance / all : 0 };
  };
  const [x, y] = [axis(0), axis(1)];
  return {
    points: tasks.map((task, index) => ({ task, x: x.coordinates[index] ?? 0, y: y.coordinates[index] ?? 0 })),
    explained: [x.share, y.share],
  };
}
