import { describe, expect, it } from "vitest";
import { golden } from "./golden.fixture.js";
import { holm } from "./holm.js";

describe("holm", () => {
  it.each(golden.holm)("adjusts $p as statsmodels does", ({ p, adjusted }) => {
    const found = holm(p);
    for (const [index, value] of adjusted.entries()) expect(found[index]).toBeCloseTo(value, 12);
    expect(holm([])).toEqual([]);
  });
});
