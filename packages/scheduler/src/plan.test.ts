import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { estimate } from "./estimate.js";
import { experiment, inspected } from "./experiment.fixture.js";
import { packMemory } from "./memory.js";
import { plan } from "./plan.js";

const unlimited = { memoryBytes: Infinity };
const ids = (...args: Parameters<typeof plan>) => plan(...args).trials.map(({ id }) => id);

describe("plan", () => {
  it("makes one trial for each seed and tau, taus ascending", () => {
    const { trials } = plan(experiment({ taus: ["inf", 0, 1000], seeds: [0, 7] }), inspected, unlimited);
    expect(trials.map(({ tau, seed }) => [seed, tau])).toEqual([
      [0, 0],
      [0, 1000],
      [0, Infinity],
      [7, 0],
      [7, 1000],
      [7, Infinity], // prettier-ignore
    ]);
    for (const { id } of trials) expect(id).toMatch(/^[0-9a-f]{16}$/);
  });

  it("gives the same ids whatever the order of taus, the packs, the name and the other taus", () => {
    const whole = ids(experiment(), inspected, unlimited);
    expect(ids(experiment({ taus: ["inf", 1000, 0], maxTrials: 1, name: "other" }), inspected, unlimited)).toEqual(
      whole,
    );
    expect(ids(experiment({ taus: [1000] }), inspected, unlimited)).toEqual([whole[1]]);
  });

  it("gives other ids when test is checked in float32, so that such trials are trained again", () => {
    const { evaluate } = experiment();
    expect(evaluate).toEqual({ float32Check: false });
    const whole = ids(experiment(), inspected, unlimited);
    expect(whole).toEqual(["9209c10ba9be530d", "64a66c1388de168a", "120bea677ee8511a"]); // of before the option existed
    const checked = ids({ ...experiment(), evaluate: { float32Check: true } }, inspected, unlimited);
    expect(checked.filter((id) => whole.includes(id))).toEqual([]);
  });

  it("gives the same ids whatever way of computing the same numbers is asked for", () => {
    const otherwise = { ...experiment(), engine: { compile: true, cudaGraph: true } };
    expect(ids(otherwise, inspected, unlimited)).toEqual(ids(experiment(), inspected, unlimited));
  });

  it("gives ids by a prior mean's content, wherever it lies, and those of before where there is none", () => {
    const whole = ids(experiment(), inspected, unlimited);
    const from = (path: string, fixed: boolean) => ({
      ...experiment(),
      prior: { ...experiment().prior, mean: { path, fixed } },
    });
    const held = (path: string, sha256: string) => ({ ...inspected, adapterFolders: [{ path, sha256 }] });
    const here = ids(from("/a", true), held("/a", "1"), unlimited);
    expect(ids(from("/b", true), held("/b", "1"), unlimited)).toEqual(here);
    for (const other of [
      ids(from("/a", true), held("/a", "2"), unlimited),
      ids(from("/a", false), held("/a", "1"), unlimited),
      whole,
    ])
      expect(other.filter((id) => here.includes(id))).toEqual([]);
  });

  it("gives other ids where each task keeps its own best step", () => {
    const whole = ids(experiment(), inspected, unlimited);
    const apart = { ...experiment(), train: { ...experiment().train, bestStep: "task" as const } };
    expect(ids(apart, inspected, unlimited).filter((id) => whole.includes(id))).toEqual([]);
  });

  it("makes one trial of each adapter to score, by its content and name", () => {
    const adapters = [{ name: "base" }, { name: "one", path: "/one" }, { name: "two", path: "/two" }];
    const spec = { ...experiment(), evaluate: { float32Check: false, adapters } };
    const held = (first: string) => ({
      ...inspected,
      adapterFolders: [
        { path: "/one", sha256: first },
        { path: "/two", sha256: "2" },
      ],
    });
    const before = plan(spec, held("1"), unlimited);
    expect(before.trials.map(({ tau }) => tau)).toEqual([Infinity, Infinity, Infinity]);
    const after = ids(spec, held("changed"), unlimited);
    expect(after.map((id, index) => id === before.trials[index]?.id)).toEqual([true, false, true]);
  });

  it("names a sweep after its experiment and its trials, not after its packs", () => {
    const { sweepId } = plan(experiment(), inspected, unlimited);
    expect(sweepId).toMatch(/^plays-[0-9a-f]{8}$/);
    expect(plan(experiment({ taus: ["inf", 1000, 0], maxTrials: 1 }), inspected, unlimited).sweepId).toBe(sweepId);
    expect(plan(experiment({ taus: [0, 1000] }), inspected, unlimited).sweepId).not.toBe(sweepId);
    expect(plan(experiment({ name: "other" }), inspected, unlimited).sweepId).not.toBe(`other-${sweepId.slice(6)}`);
  });

  it.each([
    ["the weights", experiment(), { ...inspected, modelHash: "f".repeat(64) }],
    ["the documents", experiment(), { ...inspected, dataHash: "f".repeat(64) }],
    ["the rank", { ...experiment(), adapter: { ...experiment().adapter, rank: 8 } }, inspected],
    ["tau_0", { ...experiment(), prior: { ...experiment().prior, tau0: 1 } }, inspected],
    ["the learning rate", { ...experiment(), train: { ...experiment().train, learningRate: 1 } }, inspected],
    [
      "the split",
      { ...experiment(), data: { ...experiment().data, split: { ...experiment().data.split, seed: 1 } } },
      inspected,
    ],
    [
      "the dtype asked for",
      { ...experiment(), model: { ...experiment().model, dtype: "float32" as const } },
      inspected,
    ],
  ])("gives other ids when %s change", (_, spec, seen) => {
    const before = new Set(ids(experiment(), inspected, unlimited));
    expect(ids(spec, seen, unlimited).filter((id) => before.has(id))).toEqual([]);
  });

  it.each([
    [5, 2, Infinity, [2, 1, 2]],
    [4, 3, Infinity, [2, 2]],
    [5, 16, 20_332 / 0.9, [2, 1, 2]], // memory for two trials, byte for byte: memory.test.ts
    [5, 16, 20_331 / 0.9, [1, 1, 1, 1, 1]],
  ])("packs %i trials by at most %i into as few packs of nearly one size", (trials, maxTrials, memoryBytes, sizes) => {
    const spec = experiment({ taus: Array.from({ length: trials }, (_, tau) => tau), maxTrials });
    const planned = plan(spec, inspected, { memoryBytes });
    const found = planned.packs.map(({ trialIds }) => trialIds.length);
    expect(found.toSorted()).toEqual(sizes.toSorted());
    expect(planned.packs.flatMap(({ trialIds }) => trialIds)).toEqual(planned.trials.map(({ id }) => id));
  });

  it("asks for no memory when nothing is left to train", () => {
    const whole = new Set(ids(experiment(), inspected, unlimited));
    expect(plan(experiment(), inspected, { memoryBytes: 1 }, whole).packs).toEqual([]);
  });

  it("refuses what cannot be run, with the numbers", () => {
    expect(() => plan(experiment({ taus: [0, 1], seeds: [0, 1] }), inspected, { ...unlimited, maxTrials: 3 })).toThrow(
      expect.objectContaining({ code: "spec_invalid", message: "the grid has 4 trials, at most 3 are allowed" }),
    );
    const narrow = { ...experiment(), pack: { maxTrials: 2, maxRows: 1 } };
    expect(() => plan(narrow, inspected, unlimited)).toThrow(expect.objectContaining({ code: "spec_invalid" }));
  });
});

describe("a trial that does not fit alone", () => {
  const refused = (memoryBytes: number) => () => plan(experiment(), inspected, { memoryBytes });

  it("is refused with all its parts, and at no byte less than what is stated", () => {
    expect(refused(17_748 / 0.9)).not.toThrow();
    expect(refused(17_747 / 0.9)).toThrow(
      expect.objectContaining({
        code: "out_of_memory",
        domain: "oom",
        message:
          "one trial alone takes 17.3 KiB, more than 90 % of the 19.3 KiB that are free: process 2.93 KiB, " +
          "model 9.77 KiB, 2 adapter rows of 1000 B 1.95 KiB, Theta 200 B, " +
          "a checkpoint's copy 384 B, a micro-batch of 192 tokens 2.11 KiB",
        hint: expect.stringContaining("lower adapter.rank, train.tokensPerTask or data.maxTokens"),
      }),
    );
  });
});

describe("memory and identity", () => {
  it("the same experiment has the same trials, whatever fits and whatever was measured", () => {
    const whole = ids(experiment(), inspected, unlimited);
    expect(ids(experiment(), inspected, { memoryBytes: 17_748 / 0.9 })).toEqual(whole);
    const elsewhere = { ...inspected, bytesPerRow: 9, activationBytesPerToken: 1, device: "cuda:0", processBytes: 0 };
    expect(ids(experiment(), elsewhere, unlimited)).toEqual(whole);
  });

  it("every pack of a plan fits, and one trial more would not", () => {
    const taus = Array.from({ length: 9 }, (_, tau) => tau);
    fc.assert(
      fc.property(fc.integer({ min: 17_748, max: 60_000 }), (room) => {
        const spec = experiment({ taus, maxTrials: 9 });
        const { packs } = plan(spec, inspected, { memoryBytes: room / 0.9 + 1e-6 });
        const most = Math.max(...packs.map(({ trialIds }) => trialIds.length));
        expect(packMemory(spec, inspected, most).peak).toBeLessThanOrEqual(room);
        const fewer = Math.ceil(9 / (packs.length - 1 || 1)); // what one pack less would ask of its largest
        if (packs.length > 1) expect(packMemory(spec, inspected, fewer).peak).toBeGreaterThan(room);
      }),
    );
  });
});

describe("estimate", () => {
  const of = (spec = experiment(), seen = inspected) => estimate(spec, seen, plan(spec, seen, unlimited));

  it("counts rows, bytes and scored tokens", () => {
    // Romeo: 640 tokens in 7 groups of at most 96; Juliet: 320 in 4.
    const { rows, tokensPerStep, stepsPerEpoch, packs } = of();
    expect(rows).toBe(6);
    expect(tokensPerStep).toBeCloseTo(640 / 7 + 320 / 4, 12);
    expect(stepsPerEpoch).toBe(Math.ceil(960 / (640 / 7 + 80)));
    expect(packs.map((pack) => [pack.trials, pack.rows, pack.memory.peak])).toEqual([
      [2, 4, 20_332],
      [1, 2, 17_748],
    ]);
  });

  it("gives a range from the earliest stop to the step limit, evaluation included", () => {
    const { secondsLow, secondsHigh } = of(experiment({ taus: [0] }));
    const step = 640 / 7 + 80;
    const ending = (2 * 2 * 256) / 400;
    expect(secondsLow).toBeCloseTo((8 * step) / 100 + (4 * 256) / 400 + ending, 9);
    expect(secondsHigh).toBeCloseTo((20 * step) / 100 + (10 * 256) / 400 + ending, 9);
  });

  it("gives no time where the speed was not probed", () => {
    expect(of(experiment(), { ...inspected, trainTokensPerSecond: 0 })).toMatchObject({
      secondsLow: null,
      secondsHigh: null,
    });
  });

  it("knows every sampler", () => {
    const train = experiment().train;
    const documents = { ...experiment(), train: { ...train, sampler: "documents" as const, documentsPerTask: 2 } };
    expect(of(documents).tokensPerStep).toBe(128); // documents of 32 tokens, two a task
    expect(of({ ...experiment(), train: { ...train, sampler: "uniform" } }).tokensPerStep).toBe(192);
  });
});
