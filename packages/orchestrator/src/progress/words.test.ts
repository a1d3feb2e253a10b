import { expect, test } from "vitest";
import { bar, clip, sparkline } from "./words.js";

test("bars and curves have the width they are given", () => {
  expect(bar(0.5, 10)).toBe("█████░░░░░");
  expect(bar(7, 4)).toBe("████");
  expect(sparkline([3, 2, 1], 8)).toBe("█▅▁");
  expect(sparkline([5, 5, null], 8)).toBe("▁▁?");
  expect(sparkline([9, 3, 2, 1], 2)).toBe("█▁");
  expect(clip("abcdef", 4)).toBe("abc…");
});
