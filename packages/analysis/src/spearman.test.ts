import { describe, expect, it } from "vitest";
import { golden } from "./golden.fixture.js";
import { spearman } from "./spearman.js";

describe("spearman", () => {
  it.each(golden.spearman)("is SciPy's rho of $x.length pairs, with p $method", ({ x, y, rho, p, method }) => {
    const found = spearman(x, y);
    expect(found.rho).toBeCloseTo(rho, 12);
    expect(found.p).toBeCloseTo(p, 6);
    expect(found.method).toBe(method);
  });

  it("of four pairs in order is 1 with p 2 of 24, where the t approximation would say 0", () => {
    expect(spearman([1, 2, 3, 4], [10, 20, 30, 40])).toEqual({ rho: 1, p: 2 / 24, method: "exact" });
  });

  it("says nothing where one side never changes", () => {
    expect(spearman([1, 2, 3], [5, 5, 5])).toEqual({ rho: NaN, p: NaN, method: "exact" });
  });
});
