import { describe, expect, it } from "vitest";
import { heldOut, seedDifferences, taskRates } from "./held-out.js";
import { row } from "./sweep.fixture.js";

const trial = (id: string, tau: number, seed: number, nats: readonly [number, number, number]) => [
  row({ trial: id, tau, seed, task: "Ophelia", document: "a", tokens: 5, nats: nats[2] }),
  row({ trial: id, tau, seed, task: "Hamlet", document: "b", tokens: 4, nats: nats[1] }),
  row({ trial: id, tau, seed, task: "Hamlet", document: "a", tokens: 10, nats: nats[0] }),
];
const rows = [...trial("x", Infinity, 0, [5, 2, 7]), ...trial("y", 0, 0, [1, 3, 8])];

describe("heldOut", () => {
  it("lines documents up by task and name, whatever order they come in", () => {
    const data = heldOut(rows, "test");
    expect(data.tasks).toEqual([
      { name: "Hamlet", begin: 0, end: 2 },
      { name: "Ophelia", begin: 2, end: 3 },
    ]);
    expect([...data.tokens]).toEqual([10, 4, 5]);
    expect(data.runs.map(({ trial: id, nats }) => [id, [...nats]])).toEqual([
      ["y", [1, 3, 8]],
      ["x", [5, 2, 7]],
    ]);
    expect(heldOut(rows.toReversed(), "test")).toEqual(data);
    expect([...taskRates(data, data.runs[0]?.nats ?? new Float64Array())]).toEqual([4 / 14, 8 / 5]);
  });

  it("reads one split under the task adapters alone", () => {
    const others = [row({ split: "validation", document: "z" }), row({ model: "prior-mean", document: "z" })];
    expect(heldOut([...others, ...rows], "test")).toEqual(heldOut(rows, "test"));
    expect(heldOut([], "test")).toEqual({ tasks: [], tokens: new Float64Array(), runs: [] });
  });

  it("refuses documents that are missing, other, twice there, or of another length", () => {
    const changed = (change: (index: number) => object) =>
      rows.map((own, index) => (index < 3 ? own : { ...own, ...change(index) }));
    for (const bad of [
      rows.slice(0, -1),
      changed((index) => (index === 4 ? { document: "c" } : {})),
      changed((index) => (index === 4 ? { document: "a" } : {})),
      changed((index) => (index === 4 ? { tokens: 11 } : {})),
    ])
      expect(() => heldOut(bad, "test")).toThrow(expect.objectContaining({ code: "artifact_corrupt" }));
  });
});

describe("seedDifferences", () => {
  it("pairs runs by seed and leaves out seeds that only one tau has", () => {
    const data = heldOut(
      [...rows, ...trial("z", 0, 1, [9, 9, 9]), ...trial("w", Infinity, 2, [9, 9, 9])].toReversed(),
      "test",
    );
    expect(seedDifferences(data, Infinity, 0).map((own) => [...own])).toEqual([[4, -1, -1]]);
    expect(seedDifferences(data, 0, 7)).toEqual([]);
  });
});
