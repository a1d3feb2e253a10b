import { describe, expect, it } from "vitest";
import { bitsPerCharacter } from "./bits-per-character.js";
import { row } from "./sweep.fixture.js";

describe("bits per character", () => {
  it("is nats over ln 2 and characters: a task's own, macro over tasks, micro over characters", () => {
    const rows = [
      row({ task: "Ophelia", document: "a", nats: 8 * Math.LN2, characters: 2 }),
      row({ task: "Hamlet", document: "a", nats: 10 * Math.LN2, characters: 20 }),
      row({ task: "Hamlet", document: "b", nats: 30 * Math.LN2, characters: 20 }),
    ];
    const found = bitsPerCharacter(rows);
    expect(found.tasks).toEqual([
      { name: "Hamlet", bits: expect.closeTo(1, 12) },
      { name: "Ophelia", bits: expect.closeTo(4, 12) },
    ]);
    expect(found.macro).toBeCloseTo(2.5, 12);
    expect(found.micro).toBeCloseTo(48 / 42, 12);
  });

  it("is no number for a task without a character", () => {
    const found = bitsPerCharacter([row({ characters: 0 })]);
    expect([found.macro, found.micro, found.tasks[0]?.bits]).toEqual([NaN, NaN, NaN]);
  });
});
