import { mkdir, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { BoraError, parseExperiment, type Adaptation } from "@bora/contracts";
import { openLab, type Exported, type Lab } from "@bora/sdk";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { serveController, type ControllerServer } from "./controller-server.js";
import { ScriptedSweep, scriptedLab, sweepId } from "./lab.fixture.js";

let dir: string;
let server: ControllerServer | null = null;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), "bora-")));
});
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = null;
  await rm(dir, { recursive: true });
});

/** A lab opened by the address of a controller whose own lab answers as `parts` say. */
async function through(parts: Partial<Lab>): Promise<Lab> {
  server = await serveController({ ...scriptedLab(new ScriptedSweep()), ...parts }, { dir });
  return openLab({ url: server.file.url, token: server.file.token });
}

const counts = { train: 8, validation: 2, test: 2 };
const adaptation: Adaptation = {
  ...{ schemaVersion: 1, sweepId, task: "nurse", tau: Infinity, tauChoice: "asked for" },
  prior: { trialId: "t", folder: "/adapters/t/prior-mean", sha256: "00" },
  ...{ model: { name: "tiny", hash: "m" }, data: { hash: "d", documents: counts, scoredTokens: counts } },
  models: [{ name: "base", natsPerToken: 5, low: null, high: null, perplexity: 148 }],
  ...{ differences: [], endings: [], sweeps: { adapted: "a", scratch: null }, adapter: "/x", warnings: [] },
};

describe("a lab opened by address", () => {
  test("has a task adapted to, and hears what goes on meanwhile", async () => {
    const adapt = vi.fn<Lab["adapt"]>((_request, options = {}) => {
      options.onStage?.("planning\nit");
      options.onNotice?.({ code: "disk_full", message: "3 MiB are left", hint: "make room" });
      options.onSweep?.(new ScriptedSweep(), "nurse under Theta");
      return Promise.resolve({ adaptation, folder: "/runs/x" });
    });
    const heard: unknown[] = [];
    const client = await through({ adapt });
    const answer = await client.adapt(
      { sweepId, task: "nurse", data: { path: "more.csv" }, tau: "auto" },
      {
        onStage: (text) => heard.push(text),
        onNotice: ({ code, hint }) => heard.push([code, hint]),
        onSweep: ({ sweepId: id, at }, words) => heard.push([id, at, words]),
      },
    );
    expect(answer).toEqual({ adaptation, folder: "/runs/x" });
    expect(heard).toEqual(["planning it", ["disk_full", "make room"], [sweepId, "elsewhere", "nurse under Theta"]]);
    expect(adapt.mock.calls[0]?.[0]).toEqual({
      sweepId,
      task: "nurse",
      data: { path: resolve("more.csv") },
      tau: "auto",
    });
  });

  test("has adapters scored under an experiment, with folders as the caller sees them", async () => {
    const failure = new BoraError("adapter_mismatch", "another base", { hint: "name one of this base" });
    const evaluate = vi.fn<Lab["evaluate"]>(() => Promise.reject(failure));
    const client = await through({ evaluate });
    const experiment = parseExperiment({
      ...{ name: "tiny", model: { source: "path", path: "model" }, prior: { taus: [0, "inf"] } },
      ...{ data: { source: "shakespeare", tasks: { all: true } }, adapter: { targets: ["q_proj"] } },
    });
    await expect(client.evaluate({ of: { experiment }, adapters: ["base", "one"] })).rejects.toMatchObject({
      ...{ code: "adapter_mismatch", message: "another base", hint: "name one of this base" },
    });
    expect(evaluate.mock.calls[0]?.[0]).toMatchObject({
      of: { experiment: { model: { path: resolve("model") }, prior: { taus: [0, Infinity] } } },
      ...{ adapters: ["base", "one"], cwd: process.cwd() },
    });
  });

  test("ends the work when its signal does", async () => {
    let ended = false;
    const fewShotCurves: Lab["fewShotCurves"] = (_request, { signal } = {}) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => {
          ended = true;
          reject(new BoraError("interrupted", "stopped", { hint: "" }));
        });
      });
    const client = await through({ fewShotCurves });
    const stop = new AbortController();
    const asked = client.fewShotCurves({ sweepId, sizes: [1, 2] }, { signal: stop.signal, onStage: () => undefined });
    const reason = new BoraError("interrupted", "I have seen enough", { hint: "" });
    setTimeout(() => {
      stop.abort(reason);
    }, 50);
    await expect(asked).rejects.toBe(reason);
    await vi.waitFor(() => {
      expect(ended).toBe(true);
    });
  });

  test("is told of an answer of another version", async () => {
    const adapt = () => Promise.resolve({ adaptation: { ...adaptation, schemaVersion: 7 as never }, folder: "/x" });
    const client = await through({ adapt });
    await expect(client.adapt({ sweepId, task: "nurse" })).rejects.toMatchObject({ code: "api_mismatch" });
  });

  test.each([
    ["work that is none", "dance", {}, /no work called dance/],
    ["an unknown field", "adapt", { sweepId, task: "nurse", steps: 3 }, /steps/],
    ["a negative number of documents", "adapt", { sweepId, task: "nurse", documents: -1 }, /documents/],
    ["no adapter", "evaluate", { of: { sweepId }, adapters: [] }, /adapters/],
  ])("is refused %s", async (_what, kind, body, message) => {
    await through({});
    const response = await fetch(new URL(`/v1/work/${kind}`, server?.file.url), {
      method: "POST",
      headers: { authorization: `Bearer ${server?.file.token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: "usage", message: expect.stringMatching(message) } });
  });
});

describe("an export through a controller", () => {
  const exported: Exported = { folder: "/x", bytes: 7, adapters: [], serve: null };

  test("is written below the controller's folder", async () => {
    const write = vi.fn<Lab["export"]>(() => Promise.resolve(exported));
    const client = await through({ export: write });
    const to = join(dir, "exports", "new");
    expect(await client.export({ sweepId, to, format: "peft", taus: [1, Infinity] })).toEqual(exported);
    expect(write.mock.calls[0]?.[0]).toEqual({ sweepId, to, format: "peft", taus: [1, Infinity] });
  });

  test("goes nowhere else, by a link neither", async () => {
    const client = await through({ export: () => Promise.resolve(exported) });
    const elsewhere = await mkdtemp(join(tmpdir(), "bora-elsewhere-"));
    await mkdir(join(elsewhere, "there"));
    await symlink(elsewhere, join(dir, "link"));
    for (const to of [elsewhere, join(dir, "..", "x"), join(dir, "link", "new"), join(dir, "link", "there"), dir])
      await expect(client.export({ sweepId, to, format: "peft" })).rejects.toMatchObject({ code: "path_refused" });
    await rm(elsewhere, { recursive: true });
  });
});
