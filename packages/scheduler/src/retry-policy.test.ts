import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "./clock.js";
import { backoffMs, breakerReason, isDue } from "./retry-policy.js";

describe("backoff", () => {
  it("is 5 s, doubling to 5 min", () => {
    expect([1, 2, 3, 6, 7, 8, 50].map(backoffMs)).toEqual([5_000, 10_000, 20_000, 160_000, 300_000, 300_000, 300_000]);
  });
});

describe("a wall clock that is set while a sweep runs", () => {
  afterEach(() => vi.useRealTimers());

  it("moves nothing: the controller's time goes on as before", () => {
    const before = systemClock.wallMs();
    for (const jump of [-3_600_000, 3_600_000]) {
      vi.useFakeTimers({ toFake: ["Date"], now: before + jump });
      expect(Math.abs(systemClock.wallMs() - before)).toBeLessThan(60_000);
    }
  });

  it("between two controllers delays no retry beyond any backoff", () => {
    const now = 1_700_000_000_000;
    expect(
      [now - 1, now, now + 5_000, now + 300_000, now + 300_001, now + 3_600_000].map((at) => isDue(at, now)),
    ).toEqual([true, true, false, false, true, true]);
  });
});

describe("breaker", () => {
  const count = { ended: 0, failed: 0, failedInRow: 0, firstCodes: [] };
  it.each([
    ["nothing ended", count, null],
    ["two failed", { ended: 2, failed: 2, failedInRow: 2, firstCodes: ["diverged", "diverged"] }, null],
    [
      "three with one code",
      { ended: 3, failed: 3, failedInRow: 3, firstCodes: ["diverged", "diverged", "diverged"] },
      "the first 3 trials failed with diverged",
    ],
    [
      "four at once with one code",
      { ended: 4, failed: 4, failedInRow: 4, firstCodes: ["diverged", "diverged", "diverged"] },
      "the first 3 trials failed with diverged",
    ],
    [
      "three with two codes",
      { ended: 3, failed: 3, failedInRow: 3, firstCodes: ["diverged", "internal", "diverged"] },
      null,
    ],
    ["three without failure", { ended: 3, failed: 0, failedInRow: 0, firstCodes: ["", "", ""] }, null],
    ["five in a row", { ended: 9, failed: 5, failedInRow: 5, firstCodes: [""] }, "5 trials failed in a row"],
    ["20 % of ten", { ended: 10, failed: 2, failedInRow: 0, firstCodes: [""] }, null],
    ["3 of ten", { ended: 10, failed: 3, failedInRow: 0, firstCodes: [""] }, "3 of 10 trials failed, more than 20 %"],
    ["3 of nine", { ended: 9, failed: 3, failedInRow: 0, firstCodes: [""] }, null],
  ])("%s", (_, of, reason) => {
    expect(breakerReason(of)).toBe(reason);
  });
});
