import { describe, expect, it } from "vitest";
import { documentRows } from "./documents.js";

const line = {
  model: "task",
  task: "Hamlet",
  split: "test",
  document: "1",
  date: "1603-01-01",
  tokens: 3,
  characters: 9,
  nats: 4.5,
};
const text = (...lines: unknown[]): string => lines.map((value) => `${JSON.stringify(value)}\n`).join("");

describe("documentRows", () => {
  it("adds the trial to what the trainer wrote", () => {
    expect(documentRows(text(line), { id: "t", tau: Infinity, seed: 3 })).toEqual([
      { ...line, trial: "t", tau: Infinity, seed: 3 },
    ]);
    expect(documentRows(text({ ...line, model: "base", date: null }), null)).toEqual([
      { ...line, model: "base", date: "", trial: "", tau: null, seed: null },
    ]);
  });

  it.each([
    ["no JSON", "{"],
    ["a train document", text({ ...line, split: "train" })],
    ["no token", text({ ...line, tokens: 0 })],
    ["nats that are no number", text({ ...line, nats: "4" })],
  ])("refuses %s, naming line and trial", (_, bad) => {
    const read = () => documentRows(text(line) + bad, { id: "t7", tau: 0, seed: 0 });
    expect(read).toThrow(/line 2 .* trial t7/);
    expect(read).toThrow(expect.objectContaining({ code: "artifact_corrupt" }));
  });
});
