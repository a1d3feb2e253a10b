import { describe, expect, it } from "vitest";
import { heldOut } from "./held-out.js";
import { compareModels } from "./model-comparison.js";
import { row } from "./sweep.fixture.js";
import { contrastTaus } from "./tau-contrasts.js";

/** Thirty documents of two tasks; a model costs `level` nats a token and swings by document. */
const documents = (level: number, swing: number) =>
  ["Ann", "Bo"].flatMap((task, at) =>
    Array.from({ length: 30 }, (_, index) =>
      row({ task, document: `${index}`, tokens: 10, nats: 10 * (level + at) + swing * Math.sin(index * 2.7 + at) }),
    ),
  );

const options = { resamples: 1000 };

describe("models on the same documents", () => {
  const [base, adapted] = [documents(4, 2), documents(3.5, 1)];

  it("differ as two taus of a sweep do that scored the same", () => {
    const { differences } = compareModels(
      [
        { name: "base", documents: base },
        { name: "adapted", documents: adapted },
      ],
      [["adapted", "base"]],
      options,
    );
    const asTaus = [
      ...base.map((one) => ({ ...one, trial: "b", tau: 0 })),
      ...adapted.map((one) => ({ ...one, trial: "a", tau: 1 })),
    ];
    const [expected] = contrastTaus(heldOut(asTaus, "test"), 1, [0], options);
    expect(differences[0]).toMatchObject({
      ...{ first: "adapted", second: "base", low: expected?.low, high: expected?.high, p: expected?.p },
      ...{ natsPerToken: expected?.difference, withinNoise: false },
    });
    expect(differences[0]?.percent).toBeCloseTo(100 * Math.expm1(-0.5), 0);
  });

  it("have levels within their own intervals, macro over tasks, and rates of every task", () => {
    const { models, tasks } = compareModels([{ name: "base", documents: base }], [], options);
    const [level] = models;
    const rates = tasks.map(({ natsPerToken }) => natsPerToken.get("base") ?? NaN);
    expect(tasks.map(({ name }) => name)).toEqual(["Ann", "Bo"]);
    expect(level?.natsPerToken).toBeCloseTo(rates.reduce((a, b) => a + b) / 2, 12);
    expect(level?.perplexity).toBeCloseTo(Math.exp(level?.natsPerToken ?? NaN), 12);
    expect(level?.low).toBeLessThan(level?.natsPerToken ?? NaN);
    expect(level?.high).toBeGreaterThan(level?.natsPerToken ?? NaN);
  });

  it("that are one and the same differ by nothing, within noise", () => {
    const { differences } = compareModels(
      [
        { name: "a", documents: base },
        { name: "b", documents: base },
      ],
      [["a", "b"]],
      options,
    );
    expect(differences[0]).toMatchObject({ natsPerToken: 0, low: 0, high: 0, p: 1, withinNoise: true });
  });

  it("have no interval where nothing could vary", () => {
    const { models } = compareModels([{ name: "base", documents: [row({ nats: 20, tokens: 10 })] }], [], options);
    expect(models[0]).toMatchObject({ natsPerToken: 2, low: null, high: null });
  });

  it("are refused when they scored other documents", () => {
    const models = [
      { name: "base", documents: base },
      { name: "adapted", documents: adapted.slice(1) },
    ];
    expect(() => compareModels(models, [["adapted", "base"]], options)).toThrow(
      "did not score the same test documents",
    );
  });
});
