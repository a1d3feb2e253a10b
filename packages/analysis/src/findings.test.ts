import type { DocumentRow, SweepResults } from "@bora/contracts";
import { describe, expect, it } from "vitest";
import { bestSteps, distanceBySize, mappedTrial } from "./adapter-figures.js";
import { findings } from "./findings.js";
import { describeFindings } from "./findings-words.js";
import { heldOut } from "./held-out.js";
import { facts, inspected, row, trial } from "./sweep.fixture.js";
import { summarise, type TrialFacts } from "./summarise.js";
import { comparators, taskGains } from "./task-gains.js";
import { contrastTaus } from "./tau-contrasts.js";

const names = ["a", "b", "c", "d", "e"];
const tokens = [100, 200, 400, 800, 1600];

/** Nats a token of a task at a tau: small tasks are hurt by independence, all by sharing a little. */
const rateOf = (task: number, tau: number): number => 3 + (tau === 0 ? 0.4 - 0.08 * task : tau === Infinity ? 0.05 : 0);

const rowsOf = ({ id, tau, seed }: TrialFacts): DocumentRow[] =>
  names.flatMap((name, task) =>
    (["validation", "test"] as const).flatMap((split) =>
      Array.from({ length: 12 }, (_, document) => {
        const own = row({
          trial: id,
          tau,
          seed,
          task: name,
          split,
          document: `${split}${document}`,
          tokens: 10 + document,
        });
        const scatter =
          0.3 * Math.sin(document * 2.3 + task) + 0.05 * Math.sin(document * 5 + task + (tau === 0 ? 1 : 2) + seed);
        return { ...own, nats: own.tokens * (rateOf(task, tau) + scatter) };
      }),
    ),
  );

const measured = (tau: number): Partial<TrialFacts> => ({
  learning: { steps: [10, 20], natsPerToken: [3.2, 3.1] },
  taskBestSteps: names.map((_, task) => 10 * (task + 1)),
  distances: {
    factors: tokens.map((n) => (tau === Infinity ? 0 : Math.sqrt(n) / (1 + tau / 1e3))),
    changes: tokens.map(Math.sqrt),
    priorMean: 1,
  },
});

function sweep(taus: readonly number[], seeds = [0]): { results: SweepResults; documents: DocumentRow[] } {
  const trials = taus.flatMap((tau) => seeds.map((seed) => trial(tau, { seed, ...measured(tau) })));
  const documents = trials.flatMap(rowsOf);
  const tasks = names.map((name, task) => ({
    ...{ name, slug: name, cutDocuments: 0, cutTokens: 0, documents: { train: task + 1, validation: 12, test: 12 } },
    scoredTokens: { train: tokens[task] ?? 0, validation: 1, test: 1 },
  }));
  const results = summarise({ ...facts([]), inspected: { ...inspected, tasks }, trials, documents });
  return { results, documents };
}

const full = sweep([0, 1e3, Infinity]);
const gram = names.map((_, a) => names.map((__, b) => (a === b ? 2 : 0.5)));
const all = findings(full.results, { documents: full.documents, gram });

describe("findings", () => {
  it("band every tau but the best with its paired difference to it", () => {
    const best = all.perplexity?.overall.find(({ tau }) => tau === 1e3);
    expect(best?.band).toEqual([best?.perplexity, best?.perplexity]);
    const [contrast] = contrastTaus(heldOut(full.documents, "test"), 1e3, [0]);
    const zero = all.perplexity?.overall.find(({ tau }) => tau === 0);
    expect(zero?.band?.[0]).toBeCloseTo(
      (zero?.perplexity ?? NaN) * Math.exp((contrast?.difference ?? NaN) - (contrast?.high ?? NaN)),
      8,
    );
    expect(zero?.band?.[1]).toBeCloseTo(
      (zero?.perplexity ?? NaN) * Math.exp((contrast?.difference ?? NaN) - (contrast?.low ?? NaN)),
      8,
    );
    expect(zero?.band?.[0]).toBeLessThan(zero?.perplexity ?? NaN);
    expect(zero?.band?.[1]).toBeGreaterThan(zero?.perplexity ?? NaN);
  });

  it("hold each task's own difference, as comparing its documents alone gives it, largest first", () => {
    expect(all.gains?.tasks.map(({ name }) => name)).toEqual(names.toReversed());
    const alone = heldOut(
      full.documents.filter(({ task }) => task === "b"),
      "test",
    );
    const [direct] = contrastTaus(alone, 1e3, [0]);
    const own = all.gains?.tasks.find(({ name }) => name === "b")?.against.find(({ other }) => other === 0);
    expect(own?.percent).toBeCloseTo(100 * Math.expm1(direct?.difference ?? NaN), 10);
    expect(own?.low).toBeCloseTo(100 * Math.expm1(direct?.low ?? NaN), 10);
    expect(own?.high).toBeCloseTo(100 * Math.expm1(direct?.high ?? NaN), 10);
    expect(own?.pHolm).toBeGreaterThanOrEqual(direct?.p ?? NaN);
  });

  it("leave a task out that has one test document, and all of them when that is all there is", () => {
    const lone = full.documents.filter(({ task, document }) => task !== "a" || document.endsWith("0"));
    const some = lone.filter(({ document }) => !document.endsWith("10"));
    const found = taskGains(full.results, 1e3, heldOut(some, "test"));
    expect(found?.tasks.map(({ name }) => name)).toEqual(["e", "d", "c", "b"]);
    const one = full.documents.filter(({ document }) => document.endsWith("t0"));
    expect(taskGains(full.results, 1e3, heldOut(one, "test"))).toBeNull();
  });

  it("find that small tasks gain more, where they do", () => {
    const [against] = all.trends;
    expect(against).toMatchObject({ tau: 1e3, other: 0 });
    expect(against?.line.slope).toBeCloseTo(0.08 / Math.LN2, 1);
    expect(against?.slope.low).toBeGreaterThan(0);
    expect(describeFindings(full.results, all)).toContain(
      "The gain over tau = 0 is larger for tasks with less training text (95 % interval of the slope without 0).",
    );
  });

  it("put distances beside those at tau = 0, at the best tau that has any", () => {
    expect(all.distances).toMatchObject({ tau: 1e3, control: true, priorMean: 1 });
    expect(all.distances?.tasks[0]).toMatchObject({ name: "e", distance: 20, independent: 40, ratio: 0.5 });
    expect(all.distances?.rank.distance).toBeCloseTo(1, 10);
    const shared = { ...full.results, best: { trialId: "", tau: Infinity, against: [] } };
    expect(distanceBySize(shared)?.tau).toBe(1e3);
    expect(distanceBySize(sweep([0, Infinity]).results)).toBeNull();
    expect(distanceBySize(sweep([1e3, Infinity]).results)).toMatchObject({
      control: false,
      tasks: [{ ratio: null }, {}, {}, {}, {}],
    });
  });

  it("show best steps at both ends and the best tau, mean over seeds", () => {
    const found = bestSteps(sweep([0, 10, 1e3, 1e4, Infinity], [0, 1]).results);
    expect(found?.taus).toEqual([0, expect.any(Number), Infinity]);
    expect(found?.points).toHaveLength(15);
    expect(found?.points[0]).toMatchObject({ name: "a", tau: 0, step: 10 });
  });

  it("map the adapters of a trial whose adapters differ", () => {
    expect(all.map?.points).toHaveLength(5);
    const shared = { ...full.results, best: { trialId: "", tau: Infinity, against: [] } };
    expect(mappedTrial(shared)?.tau).toBe(1e3);
    expect(mappedTrial(sweep([Infinity]).results)).toBeNull();
    expect(findings(full.results, { documents: full.documents, gram: null }).map).toBeNull();
    expect(
      findings(full.results, { documents: full.documents, gram: names.map(() => names.map(() => 0)) }).map,
    ).toBeNull();
  });

  it("are what results alone can say, without documents", () => {
    const bare = findings(full.results, null);
    expect(bare).toMatchObject({ gains: null, trends: [], contrasts: [], choice: null, map: null, bits: [] });
    expect(bare.perplexity?.overall.map(({ band }) => band)).toEqual([null, null, null]);
    expect(bare.curves?.curves).toHaveLength(3);
    expect(bare.heat?.tasks).toHaveLength(5);
  });

  it("are nothing where nothing is done", () => {
    const trials = full.results.trials.map((own) => ({
      ...own,
      state: "planned" as const,
      validation: null,
      test: null,
    }));
    const none = findings({ ...full.results, trials, best: null }, { documents: [], gram: null });
    expect(none).toMatchObject({
      perplexity: null,
      gains: null,
      heat: null,
      bestSteps: null,
      distances: null,
      map: null,
    });
    expect(describeFindings({ ...full.results, trials, best: null }, none)).toEqual([
      "No trial finished, so there is nothing to compare.",
    ]);
  });

  it("say which taus are within noise of the best, and which Holm tells from it", () => {
    const words = describeFindings(full.results, all).join(" ");
    expect(words).toMatch(/Holm's adjustment its difference to tau = 0, tau = inf is significant/);
    expect(words).toContain("No other tau is within noise of it on test.");
    expect(words).toContain("The one-standard-error rule chooses the same tau.");
  });
});

describe("what the best tau is held against", () => {
  const runs = (taus: readonly number[]) =>
    heldOut(
      taus.flatMap((tau) => rowsOf(trial(tau))),
      "test",
    );
  it.each([
    [1e3, [0, 10, 1e3, Infinity], [0, Infinity]],
    [0, [0, 10, Infinity], [Infinity]],
    [1e3, [10, 1e2, 1e3, 1e4], [10, 1e4]],
    [10, [10, 1e2], [1e2]],
    [10, [10], []],
  ])("%d of %j: %j", (tau, taus, expected) => {
    expect(comparators(tau, runs(taus))).toEqual(expected);
  });
});
