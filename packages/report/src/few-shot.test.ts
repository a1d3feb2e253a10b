import type { CurvePoint, FewShotCurves } from "@bora/contracts";
import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { fewShot } from "./few-shot.js";

const sizes: CurvePoint["size"][] = [0, 1, 2, 4, 8, 16, 32, "all"];
const levels = { base: 5.5, "prior-mean": 4.6, scratch: 5.5, adapted: 4.6 } as const;
const gains = { base: 0, "prior-mean": 0, scratch: 0.14, adapted: 0.05 } as const;
const models = ["base", "prior-mean", "scratch", "adapted"] as const;
const names = ["Hamlet (Hamlet)", "Iago (Othello)", "A speaker whose name is far too long to stand beside a line"];

function curves(tasks: readonly string[] = names): FewShotCurves {
  const points = sizes.flatMap((size, step) =>
    models.flatMap((model): CurvePoint[] =>
      [...tasks, null].map((task, index) => {
        const natsPerToken = levels[model] - gains[model] * step + (task === null ? 0 : 0.1 * (index - 1));
        const [low, high] = task === null ? [natsPerToken - 0.1, natsPerToken + 0.1] : [null, null];
        return { model, size, task, natsPerToken, low, high };
      }),
    ),
  );
  return {
    ...{ schemaVersion: 1, sweepId: "s", tau: 1e3, tauChoice: "best by validation", differences: [], sweeps: [] },
    ...{ model: { name: "m", hash: "h" }, sizes, points, warnings: [] },
    tasks: tasks.map((name) => ({ name, trainDocuments: 40, testDocuments: 12 })),
  };
}

const drawn = (found = curves()) => parseHTML(fewShot(found)).document;
const texts = (found = curves()) =>
  [...drawn(found).querySelectorAll("text")].map((element) => element.textContent?.trim() ?? "");

describe("few-shot curves", () => {
  it("name every model and task once, with 0 and all as ends of the axis", () => {
    const shown = texts();
    for (const label of ["adapted, Theta as prior", "Theta alone", "from scratch", "base model", "Hamlet (Hamlet)"])
      expect(shown.filter((text) => text === label)).toHaveLength(1);
    expect(shown).toEqual(expect.arrayContaining(["0", "1", "32", "all"]));
    expect(shown.some((text) => text.endsWith("…"))).toBe(true); // of a name that is too long
  });

  it("draw a line for each mean and each task, and a band of what is trained", () => {
    const paths = [...drawn().querySelectorAll("path")].filter((path) => path.getAttribute("d") !== null);
    const lines = paths.filter((path) => path.closest("[aria-label='line']") !== null);
    expect(lines).toHaveLength(models.length + names.length);
    expect(paths.filter((path) => path.closest("[aria-label='area']") !== null)).toHaveLength(2);
  });

  it("is the same text for the same numbers, a picture on its own, and nothing without points", () => {
    expect(fewShot(curves())).toBe(fewShot(curves()));
    expect(fewShot(curves())).toMatch(/^<svg[^>]* xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(fewShot({ ...curves(), points: [] })).toBe("");
  });

  it("leaves out the names of tasks when there are too many to read", () => {
    const many = Array.from({ length: 60 }, (_, index) => `task ${index}`);
    const shown = texts(curves(many));
    expect(shown).toContain("from scratch");
    expect(shown.filter((text) => text.startsWith("task "))).toEqual([]);
  });
});
