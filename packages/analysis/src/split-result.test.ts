import { describe, expect, it } from "vitest";
import { bothSplits, splitResult } from "./split-result.js";
import { row, scored } from "./sweep.fixture.js";

describe("perplexity", () => {
  const rows = [
    row({ task: "Ophelia", document: "a", tokens: 2, nats: 8 }),
    row({ task: "Hamlet", document: "a", tokens: 10, nats: 20 }),
    row({ task: "Hamlet", document: "b", tokens: 30, nats: 60 }),
  ];

  it("is exp of nats over tokens: a task's own, macro over tasks, micro over tokens", () => {
    const result = splitResult(rows, ["Ophelia", "Hamlet"]);
    expect(result.tasks).toEqual([
      { name: "Ophelia", nats: 8, tokens: 2, perplexity: Math.exp(4) },
      { name: "Hamlet", nats: 80, tokens: 40, perplexity: Math.exp(2) },
    ]);
    expect(result.macroPerplexity).toBeCloseTo(Math.exp(3), 10); // mean of 4 and 2, not of the perplexities
    expect(result.microPerplexity).toBeCloseTo(Math.exp(88 / 42), 10);
    expect([result.nats, result.tokens]).toEqual([88, 42]);
  });

  it("keeps the order of the tasks, whatever that of the documents", () => {
    const names = splitResult(rows.toReversed(), ["Ophelia", "Hamlet"]).tasks.map(({ name }) => name);
    expect(names).toEqual(["Ophelia", "Hamlet"]);
  });

  it("is refused over tasks without documents, or documents of unknown tasks", () => {
    expect(() => splitResult(rows, ["Ophelia", "Hamlet", "Yorick"])).toThrow(/Yorick has no scored document/);
    expect(() => splitResult(rows, ["Hamlet"])).toThrow(/unknown task Ophelia/);
    expect(() => splitResult(rows, ["Hamlet"])).toThrow(expect.objectContaining({ code: "artifact_corrupt" }));
  });

  it("of a model that was not scored is null, of one scored on half the splits an error", () => {
    const tasks = ["Ophelia", "Hamlet"];
    expect(bothSplits(rows, "base", tasks)).toBeNull();
    expect(() => bothSplits(rows, "task", tasks)).toThrow(/Ophelia has no scored document/);
    expect(bothSplits(scored({}, 3, 4), "task", tasks)?.validation.macroPerplexity).toBeCloseTo(Math.exp(3.5), 10);
  });
});
