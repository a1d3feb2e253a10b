import { expect, test } from "vitest";
import { recordingTerminal } from "../terminal.fixture.js";
import { sectionLines, type Section } from "./sections.js";
import { jsonTexts, textSections } from "./text-view.js";

const section = (label: string, text: string, done: Section["done"] = "length"): Section => ({ label, text, done });
const three = [
  section("base", " the one"),
  section("Theta, tau 1", " it is\nor not", "end"),
  section("miner", " 煤".repeat(30)),
];

test.each([20, 79, 80, 120])("sections fit into %i columns", (columns) => {
  const lines = sectionLines(three, "To be", columns);
  expect(lines.join("\n")).toMatchSnapshot();
});

test("what a model writes cannot command the terminal", () => {
  const [, , text = ""] = sectionLines([section("\u001b[2Jbase", "\u001b[31mred\u0007\u009b1m")], "", 80);
  expect(text).not.toMatch(/[\u001b\u0007\u009b]/);
});

test("no section at all is no line", () => {
  expect(sectionLines([], "To be", 80)).toEqual([]);
});

test("texts grow on the canvas and are printed whole at the end, however many lines they have", () => {
  const drawn: string[][] = [];
  let now = 0;
  const terminal = recordingTerminal({ columns: 40, rows: 4, nowMs: () => (now += 1000) });
  const canvas = { draw: (lines: readonly string[]) => drawn.push([...lines]), done: () => undefined };
  const view = textSections(terminal, ["base", "Theta"], "To", canvas);
  view.stage("loading the model");
  view.piece({ source: 0, text: " be", done: null });
  view.piece({ source: 1, text: " die", done: "end" });
  view.end();
  expect(drawn[0]).toEqual(["loading the model ..."]);
  expect(drawn[1]).toEqual(["base", "----", "... (more when all is written)"]);
  expect(drawn.at(-1)).toEqual([]);
  expect(terminal.outLines).toEqual(["base", "----", "To be", "", "Theta", "-----", "To die [end]"]);
});

test("without a canvas nothing is printed before the end, and nothing at all when nothing was written", () => {
  const terminal = recordingTerminal();
  const view = textSections(terminal, ["base"], "To", null);
  view.stage("starting");
  view.end();
  expect(terminal.outLines).toEqual([]);
});

test("JSON has the labels, then a line a piece", () => {
  const terminal = recordingTerminal();
  const view = jsonTexts(terminal, ["base"]);
  view.piece({ source: 0, text: "a", done: "end" });
  expect(terminal.outLines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { sources: ["base"] },
    { source: 0, text: "a", done: "end" },
  ]);
});
