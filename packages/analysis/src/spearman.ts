import { studentTwoSided } from "./distributions.js";
import { dot } from "./held-out.js";

/** Spearman's rank correlation. */
export interface RankCorrelation {
  rho: number; // NaN where one side has no two different values
  p: number; // two-sided
  /** exact: over all orders; t: rho sqrt((n - 2) / (1 - rho^2)) against Student's t with n - 2 degrees of freedom. */
  method: "exact" | "t";
}

/** So few pairs are compared with all orders, at most 40,320: the t approximation gives p = 0 at rho = 1 whatever n. */
const fewPairs = 8;

/** Ranks from 1, of equals the mean. */
function ranks(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  return values.map((value) => (sorted.indexOf(value) + sorted.lastIndexOf(value)) / 2 + 1);
}

/** Visits sum of a[i] * order[i] for every order of b. */
function everyOrder(a: readonly number[], b: readonly number[], visit: (sum: number) => void): void {
  const free = b.map(() => true);
  const place = (index: number, sum: number): void => {
    if (index === a.length) return visit(sum);
    for (const [at, value] of b.entries()) {
      if (free[at] !== true) continue;
      free[at] = false;
      place(index + 1, sum + (a[index] ?? NaN) * value);
      free[at] = true;
    }
  };
  place(0, 0);
}

/** Whether x and y rise together, by ranks alone. */
export function spearman(x: readonly number[], y: readonly number[]): RankCorrelation {
  const middle = (x.length + 1) / 2;
  const [a, b] = [x, y].map((values) => ranks(values).map((rank) => rank - middle)) as [number[], number[]];
  const scale = Math.sqrt(dot(a, a) * dot(b, b));
  const rho = scale === 0 ? NaN : dot(a, b) / scale;
  if (Number.isNaN(rho)) return { rho, p: NaN, method: x.length > fewPairs ? "t" : "exact" };
  if (x.length > fewPairs) {
    const t = rho * Math.sqrt((x.length - 2) / (1 - rho * rho));
    return { rho, p: studentTwoSided(t, x.length - 2), method: "t" };
  }
  let [extreme, all] = [0, 0];
  const reached = Math.abs(dot(a, b)) - 1e-9; // sums of halves: equal up to rounding
  everyOrder(a, b, (sum) => {
    all += 1;
    if (Math.abs(sum) >= reached) extreme += 1;
  });
  return { rho, p: extreme / all, method: "exact" };
}
