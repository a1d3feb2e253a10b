import { controlStream } from "@bora/contracts";
import { memoryStore } from "@bora/store";
import { mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { experiment, inspected, request } from "./experiment.fixture.js";
import { findInspection } from "./find-inspection.js";

let folder = "";
let file = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bora-inspect-"));
  file = join(folder, "plays.csv");
  writeFileSync(file, "to be");
});
afterEach(() => rmSync(folder, { recursive: true }));

async function storeWith(files: typeof inspected.files) {
  const store = memoryStore();
  const sweep = request();
  const { sweepId } = sweep.plan;
  const event = { kind: "sweep_planned" as const, ...sweep, inspected: { ...inspected, files } };
  await store.append([
    { sweepId, runId: controlStream(sweepId), seq: 1, attempt: 0, body: { stream: "control", event } },
  ]);
  return store;
}

const now = () => ({ path: file, size: 5, modifiedMs: Math.floor(statSync(file).mtimeMs) });

describe("findInspection", () => {
  it("finds what was inspected for other taus, seeds and training", async () => {
    const store = await storeWith([now()]);
    const spec = experiment({ name: "other", taus: [7], seeds: [3] });
    expect(await findInspection(store, spec)).toEqual({ ...inspected, files: [now()] });
  });

  it.each([
    ["another size", () => writeFileSync(file, "not to be")],
    ["another time", () => utimesSync(file, 1, 1)],
    ["gone", () => rmSync(file)],
  ])("does not trust it when a file is %s", async (_, change) => {
    const store = await storeWith([now()]);
    change();
    expect(await findInspection(store, experiment())).toBeNull();
  });

  it.each([
    ["model", { ...experiment(), model: { ...experiment().model, dtype: "float32" as const } }],
    ["data", { ...experiment(), data: { ...experiment().data, maxTokens: 32 } }],
    ["adapter", { ...experiment(), adapter: { ...experiment().adapter, rank: 1 } }],
  ])("does not take another %s's", async (_, spec) => {
    expect(await findInspection(await storeWith([now()]), spec)).toBeNull();
  });

  it("does not trust one that names no files, and finds nothing in an empty store", async () => {
    expect(await findInspection(await storeWith([]), experiment())).toBeNull();
    expect(await findInspection(memoryStore(), experiment())).toBeNull();
  });
});
