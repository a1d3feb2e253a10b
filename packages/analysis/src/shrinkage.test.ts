import { describe, expect, it } from "vitest";
import { shrinkage } from "./shrinkage.js";

const distance = (task: string, trainTokens: number, factors: number, change: number) => ({
  task,
  trainTokens,
  factors,
  change,
});

describe("shrinkage", () => {
  const here = [distance("small", 100, 0.1, 1), distance("large", 9000, 0.8, 7), distance("middle", 900, 0.3, 2)];
  const alone = [distance("large", 9000, 1, 0), distance("small", 100, 0.5, 0), distance("middle", 900, 0.6, 0)];

  it("gives raw distances, their ratio to tau = 0 and the change's distance, largest training set first", () => {
    const { rows, withTrainTokens } = shrinkage(here, alone);
    expect(rows).toEqual([
      { task: "large", trainTokens: 9000, factors: 0.8, change: 7, ratio: 0.8 },
      { task: "middle", trainTokens: 900, factors: 0.3, change: 2, ratio: 0.5 },
      { task: "small", trainTokens: 100, factors: 0.1, change: 1, ratio: 0.2 },
    ]);
    expect(withTrainTokens.ratio).toEqual({ rho: 1, p: 2 / 6, method: "exact" });
  });

  it("shows that distance alone is no evidence: at tau = 0 it rises with data and no ratio does", () => {
    const { withTrainTokens } = shrinkage(alone, alone);
    expect(withTrainTokens.factors.rho).toBe(1);
    expect(withTrainTokens.ratio?.rho).toBeNaN(); // all ratios are 1
  });

  it("has no ratio without the fit at tau = 0, and is 0 for one shared adapter", () => {
    const { rows, withTrainTokens } = shrinkage(here, alone.slice(0, 2));
    expect(rows.map(({ ratio }) => ratio)).toEqual([0.8, null, 0.2]);
    expect(withTrainTokens.ratio).toBeNull();
    const shared = shrinkage(
      here.map((own) => ({ ...own, factors: 0, change: 0 })),
      alone,
    );
    expect(shared.rows.map(({ ratio }) => ratio)).toEqual([0, 0, 0]);
  });
});
