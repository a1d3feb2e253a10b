import { SweepResults } from "@bora/contracts";
import { describe, expect, it } from "vitest";
import { chooseTheta } from "./theta-choice.js";

const split = (macroPerplexity: number) => ({ macroPerplexity, microPerplexity: 1, nats: 1, tokens: 1, tasks: [] });

/** A sweep whose trials of (tau, seed) have these macro validation perplexities; null: it failed. */
function sweep(...trials: [tau: number | "inf", seed: number, validation: number | null][]): SweepResults {
  const found = trials.map(([tau, seed, validation]) => ({
    ...{ id: `${tau}-${seed}`, tau, seed, state: validation === null ? "failed" : "done", steps: 1, bestStep: 1 },
    ...{ ended: "validation", failure: null, priorMean: null },
    validation: validation === null ? null : split(validation),
    test: null,
  }));
  const best = trials.toSorted((a, b) => (a[2] ?? Infinity) - (b[2] ?? Infinity))[0];
  return SweepResults.parse({
    ...{ schemaVersion: 1, sweepId: "s", experiment: {}, versions: {}, execution: null, base: null, warnings: [] },
    ...{ model: { name: "m", hash: "h" }, data: { hash: "d", tasks: [] }, trials: found },
    best: best === undefined ? null : { trialId: `${best[0]}-${best[1]}`, tau: best[0] },
  });
}

describe("the choice of Theta", () => {
  it("is the best tau by validation, mean over its seeds, and the best of them", () => {
    const found = chooseTheta(sweep([0, 0, 90], [1000, 0, 70], [1000, 1, 66], [1e4, 0, 65], [1e4, 1, 80]), "auto");
    expect(found).toMatchObject({ tau: 1000, trial: { id: "1000-1" }, words: "best by validation" });
  });

  it("passes over tau = 0, whose tasks share no Theta, and says so", () => {
    const found = chooseTheta(sweep([0, 0, 50], [1000, 0, 70], ["inf", 0, 80]), "auto");
    expect(found).toMatchObject({ tau: 1000, words: expect.stringContaining("tau = 0, best of all") as string });
  });

  it("is infinity where that is best, unless a finite one is wanted", () => {
    const results = sweep([1000, 0, 70], ["inf", 0, 60]);
    expect(chooseTheta(results, "auto").tau).toBe(Infinity);
    const finite = chooseTheta(results, "auto", { finite: true });
    expect(finite).toMatchObject({ tau: 1000, words: expect.stringContaining("best finite tau") as string });
    expect(chooseTheta(sweep(["inf", 0, 60]), "auto", { finite: true }).tau).toBe(Infinity);
  });

  it("takes the tau that was asked for", () => {
    expect(chooseTheta(sweep([100, 0, 60], [1000, 0, 70]), 1000)).toMatchObject({ tau: 1000, words: "as asked for" });
  });

  it.each([
    [0, "no finished trial of tau = 0; there are 1e3"],
    [5, "no finished trial of tau = 5; there are 1e3"],
    [1e4, "no finished trial of tau = 1e4; there are 1e3"],
  ])("refuses tau = %s, naming those there are", (tau, words) => {
    expect(() => chooseTheta(sweep([0, 0, 60], [1000, 0, 70], [1e4, 0, null]), tau)).toThrow(words);
  });

  it("refuses a sweep of tau = 0 alone", () => {
    expect(() => chooseTheta(sweep([0, 0, 60]), "auto")).toThrow("no finished trial of a tau above 0; there are none");
  });
});
