import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatTau, parseTau, tauToJson } from "./tau.js";

describe("tau", () => {
  it("survives JSON, infinity included", () => {
    const taus = fc.oneof(fc.double({ min: 0, noNaN: true }), fc.constant(Infinity), fc.constant(0));
    fc.assert(fc.property(taus, (tau) => Object.is(parseTau(JSON.parse(JSON.stringify(tauToJson(tau)))), tau)));
  });

  it("is read as people write it", () => {
    expect(["inf", ".inf", "Infinity", " inf ", "1e4", "0", ".5"].map(parseTau)).toEqual([
      Infinity,
      Infinity,
      Infinity,
      Infinity,
      1e4,
      0,
      0.5,
    ]);
    expect(Object.is(parseTau(-0), 0)).toBe(true);
  });

  it.each([-1, NaN, "x", "", "-1", null, undefined, true, [], {}])("refuses %j with a code and the value", (value) => {
    expect(() => parseTau(value)).toThrow(
      expect.objectContaining({
        code: "spec_invalid",
        message: expect.stringMatching(/expected a number from 0 to inf/),
      }),
    );
  });

  it("is shown as people write it", () => {
    expect(formatTau(10 ** 2.5)).toBe("316.2");
    expect([0, 1e-3, 0.5, 100, 1000, 3e4, Infinity].map(formatTau)).toEqual([
      "0",
      "1e-3",
      "0.5",
      "100",
      "1e3",
      "3e4",
      "inf",
    ]);
  });
});
