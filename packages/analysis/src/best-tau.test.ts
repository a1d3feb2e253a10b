import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bestTau, tauLevels, type Fit } from "./best-tau.js";

const fit = (tau: number, seed: number, nats: number): Fit => ({ tau, seed, nats });

describe("the best tau", () => {
  it("is by the mean over seeds, of equals the larger", () => {
    expect(bestTau([fit(0, 0, 2.9), fit(0, 1, 3.3), fit(1, 0, 3), fit(1, 1, 3)])).toBe(1);
    expect(bestTau([fit(0, 0, 3), fit(1, 0, 3), fit(Infinity, 0, 3)])).toBe(Infinity);
    expect(bestTau([])).toBeUndefined();
  });

  it("is not the one that was only tried with an easy seed", () => {
    // Seed 1 is easier by half a nat for every tau; tau = 1 is better by a tenth, and was tried with the hard one alone.
    const fits = [fit(0, 0, 3.6), fit(0, 1, 3.1), fit(1, 0, 3.5)];
    expect(bestTau(fits)).toBe(1);
    const levels = tauLevels(fits);
    expect((levels.get(0) ?? 0) - (levels.get(1) ?? 0)).toBeCloseTo(0.1, 10);
  });

  it("is by plain means where no seed links the taus", () => {
    expect([...tauLevels([fit(0, 0, 3), fit(0, 1, 4), fit(1, 2, 3.4)])]).toEqual([
      [0, 3.5],
      [1, 3.4],
    ]);
  });

  it("finds the levels that made the fits, whatever fits are missing, and does not depend on their order", () => {
    const made = fc.record({
      levels: fc.array(fc.double({ min: 2, max: 5, noNaN: true }), { minLength: 1, maxLength: 6 }),
      effects: fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 4 }),
      kept: fc.array(fc.boolean(), { minLength: 24, maxLength: 24 }),
    });
    fc.assert(
      fc.property(made, ({ levels, effects, kept }) => {
        const fits = levels.flatMap((level, tau) =>
          effects.flatMap((effect, seed) =>
            tau === 0 || seed === 0 || kept[tau * 4 + seed] === true ? [fit(tau, seed, level + effect)] : [],
          ),
        );
        const found = tauLevels(fits);
        levels.forEach((level, tau) => {
          expect((found.get(tau) ?? NaN) - (found.get(0) ?? NaN)).toBeCloseTo(level - (levels[0] ?? NaN), 8);
        });
        const turned = tauLevels(fits.toReversed());
        for (const [tau, level] of found) expect(turned.get(tau)).toBeCloseTo(level, 10);
      }),
    );
  });
});
