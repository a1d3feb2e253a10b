import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { atMost, equals, growth, missed, quantile, table, told, type Part } from "./figures.js";
import { writeBetweenMarks } from "../tools/suite-report.js";

test("a quantile is one of the values: the nearest rank", () => {
  const values = Array.from({ length: 100 }, (_, place) => 100 - place);
  expect([0, 0.5, 0.95, 1].map((share) => quantile(values, share))).toEqual([1, 50, 95, 100]);
  expect(quantile([3], 0.95)).toBe(3);
  expect(() => quantile([], 0.5)).toThrow(RangeError);
});

test("growth leaves out how memory warms up, and what a collector lets rise and fall", () => {
  expect(growth([50, 100, 150, 200, 230, 200, 200, 230, 200])).toBe(0);
  expect(growth(Array.from({ length: 60 }, (_, second) => 200 + second))).toBe(20); // 1 MiB a second, 20 s apart
  expect(() => growth([1, 2])).toThrow(RangeError);
});

const parts: Part[] = [
  {
    name: "stream",
    store: "SQLite",
    figures: [equals("events stored", 300_000, 300_000), atMost("p95", 101, 100, "ms")],
  },
  { name: "stream", store: "PostgreSQL", figures: [equals("events stored", 299_999, 300_000), told("rate", "5000")] },
  { name: "start", store: "SQLite", figures: [atMost("`bora status`", 0.84, 3, "s")] },
  { name: "start", store: "PostgreSQL", skipped: "no database" },
];

test("the table has a column a store, a row a figure, and says what was missed and what was not done", () => {
  expect(table(parts).split("\n")).toEqual([
    "|  | SQLite | PostgreSQL | bound |",
    "| --- | ---: | ---: | --- |",
    "| **stream** |  |  |  |",
    "| events stored | 300,000 | 299,999 (missed) | 300,000 |",
    "| p95 | 101 ms (missed) |  | <= 100 ms |",
    "| rate |  | 5000 |  |",
    "| **start** |  |  |  |",
    "| `bora status` | 0.8 s |  | <= 3 s |",
    "",
    "Not done here: start on PostgreSQL (no database).",
  ]);
  expect(missed(parts)).toEqual([
    "stream, SQLite: p95 101 ms, bound <= 100 ms",
    "stream, PostgreSQL: events stored 299,999, bound 300,000",
  ]);
});

test("a table takes the place of the one before, and of nothing else", () => {
  const folder = mkdtempSync(join(tmpdir(), "bora-figures-"));
  const page = join(folder, "page.md");
  writeFileSync(page, "before\n<!-- load: begin -->\nold\n<!-- load: end -->\nafter\n");
  writeBetweenMarks(page, "load", "| new |");
  writeBetweenMarks(page, "load", "| new |");
  expect(readFileSync(page, "utf8")).toBe("before\n<!-- load: begin -->\n\n| new |\n\n<!-- load: end -->\nafter\n");
  writeFileSync(page, "no place\n");
  expect(() => writeBetweenMarks(page, "load", "| new |")).toThrow(/no place/);
  rmSync(folder, { recursive: true });
});
