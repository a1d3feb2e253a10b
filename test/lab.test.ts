import { mkdtempSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { BoraError, type ExperimentInput } from "@bora/contracts";
import { serveController } from "@bora/dashboard";
import { openLab, type Lab } from "@bora/sdk";
import { makeCertificates, openLog } from "@bora/sdk/controller";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { controlledHere } from "../packages/dashboard/src/web/open-page.js";
import { servePage } from "../packages/dashboard/src/web/page-server.js";
import { SweepsHere } from "../packages/dashboard/src/web/sweeps-here.js";
import type { InstantTrainers } from "../packages/sdk/src/instant-trainer.fixture.js";
import { collect, makeFolder, openFolder } from "../packages/sdk/src/temporary-lab.fixture.js";

const spec: ExperimentInput = {
  name: "tiny",
  model: { source: "path", path: "/model" },
  data: { source: "shakespeare" },
  adapter: { targets: ["q_proj"] },
  prior: { taus: [0, 1, Infinity] },
};

const byFolder = (out: string, trainers: InstantTrainers): Promise<Lab> => Promise.resolve(openFolder(out, trainers));

/** A lab through the HTTP of another one's controller, whose end is the end of both. */
async function byAddress(out: string, trainers: InstantTrainers): Promise<Lab> {
  const host = openFolder(out, trainers);
  const server = await serveController(host, { dir: mkdtempSync(join(tmpdir(), "bora-")), planningWaitMs: 50 });
  const lab = await openLab({ url: server.file.url, token: server.file.token });
  const close = lab[Symbol.asyncDispose].bind(lab);
  return Object.assign(lab, {
    async [Symbol.asyncDispose]() {
      await close();
      await server[Symbol.asyncDispose]();
      await host[Symbol.asyncDispose]();
    },
  });
}

/** A lab through the page of a folder, over TLS: what it begins, the page's process trains. */
async function byPage(out: string, trainers: InstantTrainers): Promise<Lab> {
  const certs = join(dirname(out), "certs");
  await makeCertificates({ to: certs, hosts: [], days: 1, nowMs: Date.now() });
  const read = (name: string) => readFile(join(certs, name), "utf8");
  const [host, log] = [openFolder(out, trainers), openLog({ dir: out })];
  const here = new SweepsHere({
    openLab: () => Promise.resolve(openFolder(out, trainers)),
    serve: (own) => serveController(own, { dir: out, planningWaitMs: 50 }),
  });
  const page = await servePage({
    ...{ dir: out, log, lab: host, now: () => performance.now() },
    live: () => Promise.resolve(null),
    lookAtTrainers: () => Promise.resolve([]),
    perplexityOf: () => Promise.resolve(null),
    differencesOf: () => Promise.resolve(null),
    send: (sweepId, command) => here.send(sweepId, command),
    generate: (request, options) => host.generate(request, options),
    tls: { certificate: join(certs, "page.pem"), key: join(certs, "page-key.pem") },
    programs: { lab: controlledHere(host, here), tokenFile: join(certs, "page-token.sha256") },
  });
  const lab = await openLab({ url: page.url, token: (await read("page-token")).trim(), ca: await read("ca.pem") });
  const close = lab[Symbol.asyncDispose].bind(lab);
  return Object.assign(lab, {
    async [Symbol.asyncDispose]() {
      await close();
      await here.drain();
      await page[Symbol.asyncDispose]();
      for (const opened of [log, host]) await opened[Symbol.asyncDispose]();
    },
  });
}

describe.each([
  ["folder", byFolder],
  ["address", byAddress],
  ["the address of a page over TLS", byPage],
])("a lab opened by %s", (_name, open) => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => rm(folder.dir, { recursive: true }));
  const lab = (script: Parameters<typeof folder.scripted>[0] = {}) => open(folder.out, folder.scripted(script));

  test("plans what a person wrote, and starts nothing", async () => {
    await using opened = await lab();
    const stages: string[] = [];
    const preview = await opened.plan(spec, { onStage: (text) => stages.push(text) });
    expect(preview.plan.trials.map(({ tau }) => tau)).toEqual([0, 1, Infinity]);
    expect(preview.memory.freeBytes).toBe(Infinity);
    expect(preview.estimate.packs[0]?.memory.peak).toBeGreaterThan(0);
    expect(stages.join()).toMatch(/reading the model and the data/);
    expect(await opened.status()).toEqual([]);
  });

  test("sweeps to results and to the rows behind them", async () => {
    await using opened = await lab();
    const sweep = await opened.sweep({ ...spec, prior: { taus: [0, "inf"] } });
    expect((await collect(sweep)).at(-1)?.event).toEqual({ kind: "sweep_ended", outcome: "done" });
    const results = await sweep.result();
    expect(results.trials.map(({ tau }) => tau)).toEqual([0, Infinity]);
    expect(await opened.results(sweep.sweepId)).toEqual(results);
    const rows = await opened.documents(sweep.sweepId);
    expect(rows.filter(({ model }) => model === "base")[0]).toMatchObject({ tau: null, seed: null, trial: "" });
    expect(rows.find(({ tau }) => tau === Infinity)).toMatchObject({ model: "task", seed: 0, tokens: 10, nats: 30 });
    expect(rows).toHaveLength(2 * 2 * (2 * 2 + 1)); // tasks x splits x (trials x (own, prior mean) + base)
    expect(await (await opened.follow(sweep.sweepId)).result()).toEqual(results);
  });

  test("says why there is no result: the code of a failed trial, and what the others gave", async () => {
    await using opened = await lab({ diverges: (tau) => tau === 1 });
    const sweep = await opened.sweep(spec);
    await expect(sweep.result()).rejects.toMatchObject({
      code: "diverged",
      message: expect.stringMatching(/2 of 3 trials are done/),
    });
    expect((await sweep.outcome()).results?.trials.map(({ state }) => state)).toEqual(["done", "failed", "done"]);
  });

  test("cancels", async () => {
    await using opened = await lab({ lingers: true });
    const sweep = await opened.sweep(spec);
    await sweep.cancel();
    await expect(sweep.result()).rejects.toMatchObject({ code: "cancelled" });
  });

  test("names what an experiment says wrongly", async () => {
    await using opened = await lab();
    const wrong = { ...spec, prior: { taus: [-1] } };
    for (const call of [() => opened.plan(wrong), () => opened.sweep(wrong)])
      await expect(call()).rejects.toMatchObject({
        code: "spec_invalid",
        message: expect.stringMatching(/prior\.taus\.0 is -1/),
      });
  });

  test("knows no sweep that is not there", async () => {
    await using opened = await lab();
    for (const call of [
      () => opened.results("none"),
      () => opened.documents("none"),
      () => opened.follow("none"),
      () => opened.continue("none", { verb: "resume" }),
    ])
      await expect(call()).rejects.toMatchObject({ code: "sweep_unknown", message: expect.stringMatching(/none/) });
  });

  test.each(["../none", "a/b", "none\0", "Nobody"])("looks into no folder for %j, which is no id", async (sweepId) => {
    await using opened = await lab();
    for (const call of [() => opened.results(sweepId), () => opened.documents(sweepId)])
      await expect(call()).rejects.toMatchObject({
        code: "sweep_unknown",
        message: expect.stringContaining("is no sweep's id"),
      });
  });

  test("says how far a sweep is that has no results yet", async () => {
    await using opened = await lab({ lingers: true });
    const sweep = await opened.sweep(spec);
    for (const call of [() => opened.results(sweep.sweepId), () => opened.documents(sweep.sweepId)])
      await expect(call()).rejects.toMatchObject({
        code: "results_missing",
        message: expect.stringMatching(/0 of 3 trials are done/),
      });
  });

  test("rejects with the reason of a signal, before and while it plans", async () => {
    await using opened = await lab({ ponders: true });
    const reason = new BoraError("interrupted", "I have seen enough", { hint: "" });
    const signal = AbortSignal.abort(reason);
    for (const call of [
      () => opened.plan(spec, { signal }),
      () => opened.sweep(spec, { signal }),
      () => opened.status({ signal }),
      () => opened.results("none", { signal }),
      () => opened.documents("none", { signal }),
      () => opened.follow("none", { signal }),
    ])
      await expect(call()).rejects.toBe(reason);
    const stop = new AbortController();
    const onStage = () => {
      stop.abort(reason);
    };
    await expect(opened.plan(spec, { signal: stop.signal, onStage })).rejects.toBe(reason);
  });

  test("answers nothing once it is disposed", async () => {
    const opened = await lab();
    await opened[Symbol.asyncDispose]();
    for (const call of [() => opened.plan(spec), () => opened.sweep(spec), () => opened.status()])
      await expect(call()).rejects.toMatchObject({ code: "interrupted", message: expect.stringMatching(/disposed/) });
  });
});
