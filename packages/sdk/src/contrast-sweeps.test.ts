import type { DocumentRow } from "@bora/contracts";
import { expect, test } from "vitest";
import { contrastSweeps } from "./contrast-sweeps.js";

/** Three documents in each of two tasks, whose nats `natsOf` gives. */
const rows = (tau: number, natsOf: (document: number, tokens: number) => number, seed = 0): DocumentRow[] =>
  ["romeo", "juliet"].flatMap((task) =>
    [0, 1, 2].map((document) => {
      const tokens = 10 + document;
      const scored = { tokens, characters: 4 * tokens, nats: natsOf(document, tokens) };
      const names = { model: "task", trial: `t${seed}`, task, split: "test", document: String(document) } as const;
      return { ...names, tau, seed, date: "", ...scored };
    }),
  );
const plain = rows(Infinity, (document, tokens) => tokens * (2 + 0.1 * document));
const half = rows(1000, (document, tokens) => tokens * (2.5 + 0.1 * document));

test("a difference that every document has is the estimate and both ends of its interval", () => {
  const found = contrastSweeps({ documents: half, tau: 1000 }, { documents: plain, tau: Infinity });
  expect(found?.difference).toBeCloseTo(0.5, 12);
  expect(found?.low).toBeCloseTo(0.5, 12);
  expect(found?.high).toBeCloseTo(0.5, 12);
  expect(found).toMatchObject({ seeds: 1, units: 6 });
});

test("turned round it changes its sign alone, and of a sweep with itself it is nothing", () => {
  const uneven = rows(1, (document, tokens) => tokens * (2 + document ** 2));
  const [one, other] = [
    { documents: uneven, tau: 1 },
    { documents: plain, tau: Infinity },
  ];
  const [there, back] = [contrastSweeps(one, other), contrastSweeps(other, one)];
  expect(there?.difference).toBeCloseTo(-(back?.difference ?? NaN), 12);
  expect(there?.low).toBeCloseTo(-(back?.high ?? NaN), 2);
  expect(contrastSweeps(one, one)).toMatchObject({ difference: 0, p: 1 });
});

test("seeds that only one side has are left out; without a common one there is no contrast", () => {
  const other = rows(Infinity, (_, tokens) => 3 * tokens, 1);
  const both = { documents: [...plain, ...other], tau: Infinity };
  expect(contrastSweeps({ documents: half, tau: 1000 }, both)?.seeds).toBe(1);
  expect(contrastSweeps({ documents: half, tau: 1000 }, { documents: other, tau: Infinity })).toBeUndefined();
});

test("a tau that was not scored, and other documents, are refused", () => {
  const side = { documents: plain, tau: Infinity };
  expect(() => contrastSweeps(side, { documents: half, tau: 7 })).toThrow(
    expect.objectContaining({ code: "trial_unknown", message: expect.stringMatching(/tau = 7/) }),
  );
  expect(() => contrastSweeps(side, { documents: half.slice(1), tau: 1000 })).toThrow(
    expect.objectContaining({ code: "artifact_corrupt" }),
  );
});
