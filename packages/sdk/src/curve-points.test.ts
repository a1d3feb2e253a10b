import type { DocumentRow } from "@bora/contracts";
import { describe, expect, it } from "vitest";
import { curvePoints, type LeftOut, type Size } from "./curve-points.js";

/** Four documents of ten tokens at so many nats a token. */
const documents = (task: string, rate: number): DocumentRow[] =>
  Array.from({ length: 4 }, (_, index) => ({
    ...{ model: "task", trial: "t", tau: 1, seed: 0, task, split: "test", document: `${index}`, date: "" },
    ...{ tokens: 10, characters: 40, nats: 10 * rate + (index % 2 === 0 ? 1 : -1) },
  }));

const left = (name: string, base: number): LeftOut => ({
  name,
  base: documents(name, base),
  theta: documents(name, base - 1),
  adapted: (size) => documents(name, base - 1 - (size === "all" ? 1 : Number(size) / 10)),
  scratch: (size) => documents(name, base - (size === "all" ? 1.5 : Number(size) / 10)),
});

describe("few-shot curves", () => {
  const sizes: Size[] = [0, 2, "all"];
  const { points, differences } = curvePoints([left("Ann", 4), left("Bo", 6)], sizes);
  const at = (model: string, size: Size, task: string | null = null) =>
    points.find((point) => point.model === model && point.size === size && point.task === task);

  it("begin at Theta, and from scratch at the base", () => {
    expect(at("adapted", 0)?.natsPerToken).toBeCloseTo(4, 12);
    expect(at("adapted", 0)?.natsPerToken).toBe(at("prior-mean", 0)?.natsPerToken);
    expect(at("scratch", 0)?.natsPerToken).toBe(at("base", 0)?.natsPerToken);
  });

  it("hold each task and their mean, with an interval of the mean", () => {
    expect(at("adapted", 2, "Ann")).toMatchObject({ low: null, high: null });
    expect(at("adapted", 2, "Ann")?.natsPerToken).toBeCloseTo(2.8, 12);
    expect(at("adapted", 2)?.natsPerToken).toBeCloseTo((2.8 + 4.8) / 2, 12);
    expect(at("adapted", 2)?.low).toBeLessThan(3.8);
    expect(at("adapted", 2)?.high).toBeGreaterThan(3.8);
    expect(points).toHaveLength(sizes.length * 4 * 3);
  });

  it("compare what was adapted with the others on the same documents", () => {
    const found = differences.filter(({ size }) => size === "all");
    expect(found.map(({ second }) => second)).toEqual(["prior-mean", "scratch", "base"]);
    expect(found.map(({ natsPerToken }) => natsPerToken)).toEqual(
      [-1, -0.5, -2].map((nats) => expect.closeTo(nats, 12) as number),
    );
    expect(found.every(({ withinNoise }) => !withinNoise)).toBe(true); // the same swing in both: nothing varies
  });
});
