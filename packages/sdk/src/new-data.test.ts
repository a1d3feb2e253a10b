import { parseExperiment } from "@bora/contracts";
import { describe, expect, it } from "vitest";
import { dataOf } from "./new-data.js";

const own = (data: object) =>
  parseExperiment({
    name: "x",
    model: { source: "package", package: "p" },
    data,
    adapter: { targets: ["q"] },
    prior: { taus: [1] },
  }).data;
const tasks = { names: ["new"], minDocuments: 0 };
const table = own({ source: "csv", path: "/a.csv", columns: { task: "who", text: "body", id: "no" }, maxTokens: 32 });

describe("a new task's data", () => {
  it("is of the sweep's own source where no file is named", () => {
    expect(dataOf(table, undefined, tasks)).toEqual({ ...table, tasks });
  });

  it("is a file with the sweep's columns, split and cut", () => {
    expect(dataOf(table, { path: "/b.jsonl" }, tasks)).toEqual({
      ...{ source: "jsonl", path: "/b.jsonl", columns: { task: "who", text: "body", id: "no" } },
      ...{ tasks, split: table.split, maxTokens: 32 },
    });
  });

  it("takes other columns, the scored ones altogether", () => {
    const columns = { prompt: "q", completion: "a", task: "t" };
    expect(dataOf(table, { path: "/b.parquet", columns }, tasks)).toMatchObject({
      source: "parquet",
      columns: { task: "t", prompt: "q", completion: "a", id: "no" },
    });
  });

  it("is all of one task where no column says which", () => {
    const found = dataOf(table, { path: "/b.csv", columns: { task: null } }, tasks, "me");
    expect(found).toMatchObject({ columns: { onlyTask: "me", text: "body" } });
  });

  it("has the plainest columns where the sweep read plays", () => {
    const plays = own({ source: "shakespeare" });
    expect(dataOf(plays, { path: "/b.csv" }, tasks)).toMatchObject({ columns: { task: "task", text: "text" } });
  });

  it("is refused when its name does not say what it is", () => {
    expect(() => dataOf(table, { path: "/b.txt" }, tasks)).toThrow("its name ends in .txt");
  });
});
