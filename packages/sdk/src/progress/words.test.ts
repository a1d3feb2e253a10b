import { describe, expect, test } from "vitest";
import { duration, perplexity, short } from "./words.js";

describe("numbers in words", () => {
  test.each([
    [0, "0:00"],
    [75_400, "1:15"],
    [3_700_000, "1:01:40"],
    [-5, "0:00"],
  ])("%i ms is %s", (ms, words) => {
    expect(duration(ms)).toBe(words);
  });

  test.each([
    [950, "950"],
    [1234, "1.2k"],
    [38_000, "38k"],
    [1_340_000, "1.3M"],
    [134_000_000, "134M"],
  ])("%i is %s", (value, words) => {
    expect(short(value)).toBe(words);
  });

  test("a perplexity that is no number is not shown as one", () => {
    expect([perplexity(null), perplexity(Math.log(12.345)), perplexity(20)]).toEqual(["", "12.35", "4.9e+8"]);
  });
});
