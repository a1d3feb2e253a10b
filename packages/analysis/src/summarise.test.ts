import { SweepResults } from "@bora/contracts";
import { describe, expect, it } from "vitest";
import { summarise } from "./summarise.js";
import { facts, trial } from "./sweep.fixture.js";
import { compareTasks, compareTaus } from "./tau-comparison.js";
import { describeWinner } from "./winner-words.js";

const three = () =>
  facts([
    [trial(Infinity), 3.2, 3.4],
    [trial(0), 4.0, 3.0],
    [trial(1e4), 3.1, 3.1],
  ]);

describe("summarise", () => {
  it("gives every trial its splits, sorted by tau, and names the best by validation", () => {
    const results = summarise(three());
    expect(results.trials.map(({ tau }) => tau)).toEqual([0, 1e4, Infinity]);
    expect(results.trials[1]?.test?.macroPerplexity).toBeCloseTo(Math.exp(3.1), 10);
    expect(results.trials[1]?.priorMean?.test.macroPerplexity).toBeCloseTo(Math.exp(3.2), 10);
    expect(results.base?.validation.macroPerplexity).toBeCloseTo(Math.exp(5), 10);
    expect(results.best).toMatchObject({ trialId: "tau-10000-0", tau: 1e4 });
    expect(results.warnings).toEqual(["1 of 104 documents was cut", expect.stringMatching(/^one seed: /)]);
    expect(SweepResults.parse(results)).toEqual(results);
  });

  it("states the best tau's difference to both ends", () => {
    const against = summarise(three()).best?.against ?? [];
    expect(against.map(({ end, percent }) => [end, percent.toFixed(6)])).toEqual([
      ["independent", (100 * Math.expm1(3.1 - 3.5)).toFixed(6)],
      ["shared", (100 * Math.expm1(3.1 - 3.3)).toFixed(6)],
    ]);
    expect(against.map(({ withinNoise }) => withinNoise)).toEqual([false, false]); // every document agrees
  });

  it("says within noise when the interval holds 0", () => {
    const noisy = three();
    const documents = noisy.documents.map((own) =>
      own.trial === "tau-10000-0" && own.split === "test"
        ? { ...own, nats: own.nats + (own.tokens === 10 ? 20 : -15) }
        : own,
    );
    const results = summarise({ ...noisy, documents });
    expect(results.best?.against.map(({ withinNoise }) => withinNoise)).toEqual([true, true]);
    expect(describeWinner(results).join(" ")).toMatch(
      /shared adapter \(tau = inf\).* lower to .* higher\), a difference within noise\./,
    );
  });

  it("chooses by validation alone: test numbers change nothing", () => {
    const turned = three();
    const documents = turned.documents.map((own) => (own.split === "test" ? { ...own, nats: 100 - own.nats } : own));
    expect(summarise({ ...turned, documents }).best?.tau).toBe(1e4);
  });

  it("takes the larger tau of equals, and a finished trial before a better one that is not", () => {
    const equal = summarise(
      facts([
        [trial(0), 3, 3],
        [trial(Infinity), 3, 3],
        [trial(10), 3, 3],
      ]),
    );
    expect(equal.best?.tau).toBe(Infinity);
    expect(equal.best?.against.map(({ end }) => end)).toEqual(["independent"]);
    const stopped = summarise(
      facts([
        [trial(0), 3, 3],
        [trial(10, { state: "stopped" }), 2, 2],
      ]),
    );
    expect(stopped.best?.tau).toBe(0);
    expect(stopped.trials[1]?.test?.macroPerplexity).toBeCloseTo(Math.exp(2), 10);
  });

  it("has no best and no numbers when nothing finished", () => {
    const failure = { code: "out_of_memory", message: "150 rows do not fit", hint: "lower pack.maxRows" };
    const results = summarise({ ...facts([]), documents: [], trials: [trial(0, { state: "failed", failure })] });
    expect(results.best).toBeNull();
    expect(results.base).toBeNull();
    expect(results.trials[0]).toMatchObject({ test: null, validation: null, priorMean: null, failure });
    expect(results.warnings.at(-1)).toContain("tau = 0, seed 0, is failed (out_of_memory: 150 rows do not fit)");
    expect(describeWinner(results)).toEqual(["No trial finished, so there is nothing to compare."]);
  });

  it("warns when trials ran in different dtypes, and when there was nothing to check in float32", () => {
    const warnings = (dtypes: string[], float32Check: boolean) =>
      summarise({ ...three(), dtypes, float32Check }).warnings.slice(2);
    expect(warnings(["bfloat16", "bfloat16"], true)).toEqual([]);
    expect(warnings(["float32"], false)).toEqual([]);
    expect(warnings(["float32"], true)).toEqual([expect.stringMatching(/^evaluate\.float32Check has no figure/)]);
    expect(warnings(["float32", "bfloat16", "float32"], false)).toEqual([
      expect.stringMatching(/^trials ran in bfloat16 and float32: /),
    ]);
  });

  it("states no interval where nothing could vary, and warns of tasks with one test document", () => {
    const lone = three();
    const inspected = {
      ...lone.inspected,
      tasks: lone.inspected.tasks.map((task) => ({ ...task, documents: { ...task.documents, test: 1 } })),
    };
    const documents = lone.documents.filter(({ document }) => document !== "test-30");
    const results = summarise({ ...lone, inspected, documents });
    expect(results.best).toMatchObject({ tau: 1e4, against: [] });
    expect(results.warnings.at(-1)).toMatch(/^2 of 2 tasks have one test document: /);
    const one = summarise({
      ...lone,
      documents: lone.documents.filter((own) => own.document !== "test-30" || own.task !== "Hamlet"),
    });
    expect(one.best?.against).toHaveLength(2);
  });

  it("refuses a finished trial whose documents are not all there", () => {
    const broken = three();
    const documents = broken.documents.filter(({ task, trial: id }) => task !== "Hamlet" || id !== "tau-0-0");
    expect(() => summarise({ ...broken, documents })).toThrow(expect.objectContaining({ code: "artifact_corrupt" }));
  });

  it("warns of step limits, of the edge of the grid, and of trials that learnt nothing", () => {
    const results = summarise(
      facts([
        [trial(100, { ended: "limit", steps: 400 }), 3, 3],
        [trial(10), 3.1, 3.1],
        [trial(Infinity), 5, 5],
      ]),
    );
    expect(results.warnings.slice(1)).toEqual([
      expect.stringMatching(/^tau = 100 ended at the step limit \(400 steps\)/),
      expect.stringMatching(/^tau = inf did not beat the base model on validation \(148.4\)/),
      expect.stringMatching(/^one seed: the intervals/),
    ]);
    const seeds = summarise(
      facts([
        [trial(0), 3, 3],
        [trial(0, { seed: 1 }), 3, 3],
        [trial(Infinity), 3.1, 3.1],
        [trial(Infinity, { seed: 1 }), 3.1, 3.1],
      ]),
    );
    expect(seeds.warnings.filter((warning) => warning.startsWith("one seed"))).toEqual([]);
    const edge = summarise(
      facts([
        [trial(100), 3, 3],
        [trial(10), 3.1, 3.1],
      ]),
    );
    expect(edge.warnings.at(-1)).toMatch(/^the best tau, 100, is at the edge of the grid: add larger ones, or inf/);
    const low = summarise(
      facts([
        [trial(100), 3, 3],
        [trial(10), 2.9, 2.9],
      ]),
    );
    expect(low.warnings.at(-1)).toMatch(/add smaller ones, or 0/);
  });

  it("warns where one step for all tasks is a good part of the gain over tau = 0", () => {
    const learnt = (tau: number, seed: number, nats: number, oneStepCost: number | null) =>
      trial(tau, { seed, oneStepCost, learning: { steps: [5, 10], natsPerToken: [nats, nats + 1] } });
    const warnings = (alone: number | null, tied: number | null, nats = 3.2) =>
      summarise(
        facts([
          [learnt(0, 0, nats, alone), 3.2, 3.2],
          [learnt(0, 1, nats, alone), 3.2, 3.2],
          [learnt(0, 2, 9, null), 3.2, 3.2], // a seed of which nothing is known says nothing
          [learnt(100, 0, 3, tied), 3, 3],
          [learnt(100, 1, 3, tied), 3, 3],
          [learnt(100, 2, 3, tied), 3, 3],
          [learnt(Infinity, 0, 3.1, 0), 3.1, 3.1],
          [learnt(Infinity, 1, 3.1, 0), 3.1, 3.1],
          [learnt(Infinity, 2, 3.1, 0), 3.1, 3.1],
        ]),
      ).warnings.slice(1);
    const words = (own: string) => [
      expect.stringMatching(
        new RegExp(`^all tasks .* tau = 100 is 0\\.200 nats per token lower than tau = 0, and would be ${own} were`),
      ) as string,
    ];
    expect(warnings(0.05, 0.02)).toEqual(words("0\\.170 lower"));
    expect(warnings(0.25, 0.02)).toEqual(words("0\\.030 higher"));
    expect(warnings(0.05, 0.04)).toEqual([]); // a twentieth of the gain
    expect(warnings(0.02, 0.05)).toEqual([]); // to the gain's disadvantage
    expect(warnings(null, 0.02)).toEqual([]);
    expect(warnings(0.05, 0, 2.9)).toEqual([]); // there is no gain
  });

  it("says nothing of one step for all tasks without tau = 0", () => {
    const learning = { steps: [5], natsPerToken: [3] };
    const own = facts([
      [trial(10, { oneStepCost: 1, learning }), 3.1, 3.1],
      [trial(100, { oneStepCost: 0, learning }), 3, 3],
      [trial(Infinity, { oneStepCost: 0, learning }), 3.1, 3.1],
    ]);
    expect(summarise(own).warnings.filter((warning) => warning.startsWith("all tasks"))).toEqual([]);
  });
});

describe("the tables", () => {
  it("compare each tau with both ends in per cent of macro test perplexity", () => {
    const rows = compareTaus(summarise(three()));
    expect(rows.map(({ tau, best }) => [tau, best])).toEqual([
      [0, false],
      [1e4, true],
      [Infinity, false],
    ]);
    expect(rows[1]?.againstIndependent).toBeCloseTo(100 * Math.expm1(-0.4), 8);
    expect(rows[1]?.againstShared).toBeCloseTo(100 * Math.expm1(-0.2), 8);
    expect(rows[0]?.againstIndependent).toBeCloseTo(0, 10);
    expect(rows[0]?.microTest).toBeCloseTo(Math.exp(3.5), 8); // both tasks have 40 tokens
  });

  it("leave the columns empty where 0 or inf is not in the grid", () => {
    const rows = compareTaus(
      summarise(
        facts([
          [trial(1), 3, 3],
          [trial(10), 3.1, 3.1],
        ]),
      ),
    );
    expect(rows.map(({ againstIndependent, againstShared }) => [againstIndependent, againstShared])).toEqual([
      [null, null],
      [null, null],
    ]);
  });

  it("average several seeds in nats, and keep a tau of which no trial finished", () => {
    const results = summarise(
      facts([
        [trial(0, { seed: 0 }), 3, 3],
        [trial(0, { seed: 1 }), 4, 4],
        [trial(Infinity, { seed: 0 }), 3.2, 3.2],
        [trial(Infinity, { seed: 1 }), 3.4, 3.4],
      ]),
    );
    const none = { learning: { steps: [], natsPerToken: [] }, taskBestSteps: [], oneStepCost: null, distances: null };
    const rows = compareTaus({
      ...results,
      trials: [
        ...results.trials,
        { ...trial(7, { state: "failed" }), ...none, validation: null, test: null, priorMean: null },
      ],
    });
    expect(rows.map(({ tau, seeds }) => [tau, seeds])).toEqual([
      [0, 2],
      [7, 0],
      [Infinity, 2],
    ]);
    expect(rows[0]?.macroTest).toBeCloseTo(Math.exp(3.5), 10);
    expect(rows[1]).toMatchObject({ macroTest: null, againstShared: null, states: ["failed"] });
    // By the mean over seeds, not by the lucky one: tau = 0 has the best single trial.
    expect(results.best).toMatchObject({
      tau: Infinity,
      trialId: results.trials.find((own) => own.tau === Infinity)?.id,
    });
    expect(results.best?.against[0]).toMatchObject({ end: "independent" });
    expect(results.best?.against[0]?.percent).toBeCloseTo(100 * Math.expm1(3.3 - 3.5), 8); // over both seeds
  });

  it("show by task where sharing pays, largest first", () => {
    const rows = compareTasks(summarise(three()));
    expect(rows.map(({ name, trainDocuments }) => [name, trainDocuments])).toEqual([
      ["Hamlet", 90],
      ["Ophelia", 8],
    ]);
    expect(rows[0]?.againstIndependent).toBeCloseTo(100 * Math.expm1(0.1), 8); // a large task loses
    expect(rows[1]?.againstIndependent).toBeCloseTo(100 * Math.expm1(-0.9), 8); // a small one gains
    expect(rows[1]).toMatchObject({ base: expect.closeTo(Math.exp(5), 6), shared: expect.closeTo(Math.exp(3.2), 6) });
  });
});
