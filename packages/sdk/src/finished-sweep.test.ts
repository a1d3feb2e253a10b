import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { finishedSweep } from "./finished-sweep.js";
import { SweepStatus } from "./lab.js";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-"));
});
afterEach(() => rm(dir, { recursive: true }));

const status = (sweepId: string) =>
  SweepStatus.parse({
    ...{ sweepId, name: "x", plannedAtMs: 0, phase: "running", outcome: null, paused: null, live: false },
    trials: { done: 2, queued: 3 },
  });
const find = (sweepId: string, ...known: string[]) =>
  finishedSweep({ status: () => Promise.resolve(known.map(status)) }, dir, sweepId);

async function results(sweepId: string, content: string): Promise<void> {
  await mkdir(join(dir, sweepId));
  await writeFile(join(dir, sweepId, "results.json"), content);
}

describe("a sweep to build on", () => {
  it("must be there", async () => {
    await expect(find("gone-1", "here-1", "here-2")).rejects.toMatchObject({
      code: "sweep_unknown",
      message: `${dir} holds no sweep gone-1, only here-1, here-2`,
    });
  });

  it("must have ended", async () => {
    await expect(find("half-1", "half-1")).rejects.toMatchObject({
      code: "results_missing",
      message: "sweep half-1 has no results yet: 2 of 5 trials are done, it is running",
      hint: "results are written when a sweep ends: bora resume half-1 goes on with it",
    });
  });

  it("must have been written by this version", async () => {
    await results("new-1", JSON.stringify({ schemaVersion: 7 }));
    await expect(find("new-1")).rejects.toMatchObject({
      code: "results_version",
      message: expect.stringContaining("schemaVersion 7, this version of BoRA reads 1") as string,
    });
  });

  it.each(["{", JSON.stringify({ schemaVersion: 1 })])("must be whole, unlike %s", async (content) => {
    await results("torn-1", content);
    await expect(find("torn-1")).rejects.toMatchObject({ code: "artifact_corrupt" });
  });
});
