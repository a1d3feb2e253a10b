import { describe, expect, it } from "vitest";
import { heldOut } from "./held-out.js";
import { row } from "./sweep.fixture.js";
import { chooseTau } from "./tau-choice.js";
import { contrastTaus } from "./tau-contrasts.js";

/** Ten documents of ten tokens; document i of a trial costs `level` and, every second one, `swing` more or less. */
const rows = (tau: number, seed: number, level: number, swing: number, test = level) =>
  (["validation", "test"] as const).flatMap((split) =>
    Array.from({ length: 10 }, (_, index) =>
      row({
        trial: `${tau}-${seed}`,
        tau,
        seed,
        split,
        document: `${split} ${index}`,
        nats: 10 * (split === "test" ? test : level) + (index % 2 === 0 ? swing : -swing),
      }),
    ),
  );

function choose(...all: ReturnType<typeof rows>[]) {
  const documents = all.flat();
  return chooseTau(heldOut(documents, "validation"), heldOut(documents, "test"), { resamples: 500 });
}

describe("the choice of tau", () => {
  // The paired differences to tau = 1 swing by 3 nats a document: one standard error is 0.1 nats per token.
  const grid = [rows(0, 0, 3.5, 0), rows(1, 0, 3, 0, 3.2), rows(10, 0, 3.05, 3, 3.1), rows(Infinity, 0, 3.2, 3)];

  it("is the best on validation, and the largest tau within one standard error of it", () => {
    const found = choose(...grid);
    expect(found?.best).toMatchObject({ tau: 1, seeds: 1 });
    expect(found?.best.validation).toBeCloseTo(3, 12);
    expect(found?.best.test).toBeCloseTo(3.2, 12);
    expect(found?.oneStandardError.tau).toBe(10);
    expect(found?.oneStandardError.test).toBeCloseTo(3.1, 12);
  });

  it("carries each choice's differences to both ends on test", () => {
    const found = choose(...grid);
    expect(found?.best.against.map(({ other }) => other)).toEqual([0, Infinity]);
    expect(found?.best.against[0]?.difference).toBeCloseTo(3.2 - 3.5, 12);
    expect(found?.oneStandardError.against[0]?.difference).toBeCloseTo(3.1 - 3.5, 12);
  });

  it("is one where no larger tau is close, and of equals the larger", () => {
    const found = choose(rows(0, 0, 3.01, 3), rows(1, 0, 3, 0), rows(10, 0, 3.2, 1), rows(100, 0, 3, 0));
    expect(found?.best.tau).toBe(100);
    expect(found?.oneStandardError).toBe(found?.best); // tau = 0 is close, but smaller
  });

  it("is by the mean over seeds, not by a lucky one", () => {
    const found = choose(rows(1, 0, 2.9, 0), rows(1, 1, 3.3, 0), rows(0, 0, 3, 0), rows(0, 1, 3, 0));
    expect(found?.best).toMatchObject({ tau: 0, seeds: 2 });
  });

  it("keeps the best where no error is known: one document and one seed", () => {
    const lone = [rows(0, 0, 3.5, 0), rows(1, 0, 3, 0), rows(10, 0, 3.2, 0)].map((own) =>
      [own[0], own[10]].flatMap((x) => x ?? []),
    );
    expect(choose(...lone)?.oneStandardError.tau).toBe(1);
  });

  it("never looks at test", () => {
    const turned = grid.map((own) =>
      own.map((document) => (document.split === "test" ? { ...document, nats: 100 - document.nats } : document)),
    );
    expect([choose(...turned)?.best.tau, choose(...turned)?.oneStandardError.tau]).toEqual([1, 10]);
    expect(choose()).toBeUndefined();
  });
});

describe("contrasts of taus", () => {
  it("adjust p over the taus compared, and leave out those without a common seed", () => {
    const data = heldOut(
      [...rows(0, 0, 3.1, 1), ...rows(1, 0, 3, 0), ...rows(2, 0, 3.05, 0.8), ...rows(3, 1, 3, 0)],
      "test",
    );
    const found = contrastTaus(data, 1, [0, 2, 3], { resamples: 2000 });
    expect(found.map(({ other }) => other)).toEqual([0, 2]);
    const ps = found.map(({ p }) => p).toSorted((a, b) => a - b);
    expect(Math.min(...found.map(({ pHolm }) => pHolm))).toBeCloseTo(Math.min(1, 2 * (ps[0] ?? NaN)), 12);
    expect(contrastTaus(data, 1, [2], { resamples: 2000 })[0]).toMatchObject({ ...found[1], pHolm: found[1]?.p });
  });
});
