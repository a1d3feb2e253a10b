import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BoraError } from "@bora/contracts";
import type { GeneratedPiece, GenerateOptions, GenerateRequest } from "@bora/sdk";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { z } from "zod";
import { evaluated, eventsOf, midway, planned, sweepId, trainerId, trialIds, whole } from "./events.fixture.js";
import * as api from "./page-api.js";
import { PageBench } from "./page.fixture.js";
import { resultsSoFar } from "./results-so-far.js";
import { SweepIndex } from "./sweep-index.js";

const { pagePaths } = api;
let page: PageBench;

beforeEach(async () => {
  page = await (await new PageBench().open()).loggedIn();
});
afterEach(() => page[Symbol.asyncDispose]());

async function read<T extends z.ZodType>(path: string, schema: T): Promise<z.output<T>> {
  const { status, body } = await page.get(path);
  expect(status, body).toBe(200);
  return schema.parse(JSON.parse(body));
}

function indexOf(bodies: Parameters<typeof eventsOf>[0]): SweepIndex {
  const index = new SweepIndex(sweepId);
  for (const event of eventsOf(bodies)) index.apply(event);
  return index;
}

const refused = async (path: string) => {
  const { status, body } = await page.get(path);
  return { status, ...api.Refusal.parse(JSON.parse(body)).error };
};

describe("the list of sweeps", () => {
  test("has every sweep with where it stands and its best tau", async () => {
    page.log.stored.push(...eventsOf([planned("newer")], "newer", 100));
    page.live.add("newer");
    const { sweeps } = await read(pagePaths.sweeps, api.SweepList);
    expect(sweeps).toMatchObject([
      { sweepId: "newer", standing: "running", trials: { all: 3, ended: 0 }, best: null },
      { sweepId, standing: "done", trials: { all: 3, ended: 3, failed: 0 }, best: { tau: Infinity } },
    ]);
    expect(sweeps[1]?.best?.perplexity).toBeCloseTo(Math.exp(4.65 + 0.1), 10);
  });

  test("reads no event but the last of a sweep that has ended and left results", async () => {
    const written = resultsSoFar(indexOf(whole));
    const results = () => (written === null ? Promise.reject(new Error("none")) : Promise.resolve(written));
    const { sweeps: fromEvents } = await read(pagePaths.sweeps, api.SweepList);
    const before = page.log.reads;
    await page.again(whole, { lab: { results } });
    expect(await read(pagePaths.sweeps, api.SweepList)).toEqual({ sweeps: fromEvents });
    expect(page.log.reads).toBe(before);
  });

  test("is empty where nothing was swept yet", async () => {
    await page.again([]);
    expect(await read(pagePaths.sweeps, api.SweepList)).toEqual({ sweeps: [] });
  });
});

describe("a sweep", () => {
  test("that trains: packs, speed, time left, what every trial has", async () => {
    await page.again(midway);
    page.live.add(sweepId);
    const sweep = await read(pagePaths.sweep(sweepId), api.SweepView);
    expect(sweep).toMatchObject({ standing: "running", maxSteps: 40, packCount: 1, tokensPerSecond: 2000 });
    expect(sweep.packs).toMatchObject([{ at: "training", step: 20, rows: 6, trainerId, device: "cpu float32" }]);
    expect(sweep.msLeft).toBeGreaterThan(0);
    expect(sweep.trials.map(({ at }) => at)).toEqual(["done", "training", "training"]);
    expect(sweep.trials[0]?.validation).toBeCloseTo(4.8, 10); // not the best step's, scored again at the end
    expect(sweep.trials[1]).toMatchObject({ validation: 4.7, test: null });
    expect(sweep.taus.map(({ test }) => test !== null)).toEqual([true, false, false]);
    expect(sweep.facts).toContainEqual(["model", "a model"]);
  });

  test("nobody is at work on is left off; a controller that does not answer yet is asked", async () => {
    await page.again(midway);
    expect(await read(pagePaths.sweep(sweepId), api.SweepView)).toMatchObject({ standing: "left", msLeft: null });
    await page.again(midway, { live: () => Promise.resolve(null) });
    expect(await read(pagePaths.sweep(sweepId), api.SweepView)).toMatchObject({ standing: "unknown" });
  });

  test("that was paused, drained, cancelled or resumed says so", async () => {
    await page.again(midway);
    page.live.add(sweepId);
    const standing = async () => (await read(pagePaths.sweep(sweepId), api.SweepView)).standing;
    page.log.add({ kind: "paused", code: "disk_full", reason: "3 MiB are left" });
    expect(await read(pagePaths.sweep(sweepId), api.SweepView)).toMatchObject({
      standing: "paused",
      reason: { code: "disk_full", message: "3 MiB are left" },
    });
    page.log.add({ kind: "resumed" }, { kind: "drain_requested" });
    expect(await standing()).toBe("draining");
    page.log.add({ kind: "cancel_requested" });
    expect(await standing()).toBe("cancelling");
    page.log.add(
      { kind: "trials_cancelled", trialIds: [...trialIds.slice(1)] },
      { kind: "sweep_ended", outcome: "cancelled" },
    );
    expect(await standing()).toBe("cancelled");
    page.log.add({ kind: "trials_requeued", trialIds: [...trialIds.slice(1)], reason: "resume" });
    expect(await standing()).toBe("running");
  });

  test("is read once, then from where it stands", async () => {
    await read(pagePaths.sweep(sweepId), api.SweepView);
    const before = page.log.reads;
    await read(pagePaths.sweep(sweepId), api.SweepView);
    expect([before, page.log.reads]).toEqual([whole.length, whole.length]);
  });

  test("has the results of its own end, not those that an earlier end left", async () => {
    const right = resultsSoFar(indexOf(whole));
    let written = resultsSoFar(indexOf(midway));
    const results = () => (written === null ? Promise.reject(new Error("none")) : Promise.resolve(written));
    await page.again(whole, { lab: { results } });
    const warnings = async () => (await read(pagePaths.sweep(sweepId), api.SweepView)).warnings;
    const taus = async () =>
      (await read(pagePaths.sweep(sweepId), api.SweepView)).taus.map(({ test }) => test !== null);
    expect(await taus()).toEqual([true, true, true]); // from the events
    written = right && { ...right, warnings: ["of the file"] };
    expect(await warnings()).toEqual(["of the file"]);
  });

  test("that is not there is refused, whatever is asked of it", async () => {
    for (const path of [pagePaths.sweep, pagePaths.figures, pagePaths.events, pagePaths.stream])
      expect(await refused(path("none"))).toMatchObject({ status: 404, code: "sweep_unknown" });
    expect((await page.post(pagePaths.commands("none"), { verb: "cancel" })).status).toBe(404);
  });
});

describe("its figures", () => {
  test("hold tau = inf, and curves whose repeated points are left out", async () => {
    page.log.add(evaluated("trial1", "validation", 10, 9)); // a resumed run repeats a step
    const figures = await read(pagePaths.figures(sweepId), api.Figures);
    expect(figures.perplexity).toMatchObject({ taus: [0, 1000, Infinity], best: Infinity });
    expect(figures.perplexity?.overall.map(({ tau }) => tau)).toEqual([0, 1000, Infinity]);
    expect(figures.perplexity?.overall[0]?.perplexity).toBeCloseTo(Math.exp(4.85 + 0.1), 10);
    expect(figures.validation.map(({ tau }) => tau)).toEqual([0, 1000, Infinity]);
    expect(figures.validation[1]).toMatchObject({ steps: [10, 20], natsPerToken: [4.8, 4.7] });
    expect(figures.train[0]).toMatchObject({ steps: [10, 20], natsPerToken: [4.9, 4.8] });
  });

  test("fill in as trials end", async () => {
    await page.again(midway.slice(0, 5));
    expect(await read(pagePaths.figures(sweepId), api.Figures)).toMatchObject({ perplexity: null, validation: [] });
    page.log.add(...midway.slice(5));
    const { perplexity, validation } = await read(pagePaths.figures(sweepId), api.Figures);
    expect([perplexity?.overall.length, validation.length]).toEqual([1, 3]);
  });
});

describe("its events", () => {
  test("come as lines, the newest first asked for, older ones before them", async () => {
    const { lines, more } = await read(`${pagePaths.events(sweepId)}?limit=2`, api.EventLines);
    expect(lines.map(({ text }) => text)).toEqual(
      ["run done in 0:12, peak memory 1.0 GiB (planned 1 B)", "sweep done"].map(
        (text) => expect.stringContaining(text.slice(0, 9)) as string,
      ),
    );
    expect(more).toBe(true);
    const before = lines[0]?.position ?? 0;
    const older = await read(`${pagePaths.events(sweepId)}?limit=1&before=${before}`, api.EventLines);
    expect(older.lines.map(({ position }) => position)).toEqual([before - 1]);
  });

  test("are text: a name with markup stays as it is", async () => {
    const { tasks } = await read(pagePaths.sweep(sweepId), api.SweepView);
    expect(tasks.map(({ name }) => name)).toContain("Rosalind <b>");
  });

  test.each(["?limit=0", "?limit=x", "?before=-1"])("refuse %s", async (query) => {
    expect(await refused(`${pagePaths.events(sweepId)}${query}`)).toMatchObject({ status: 400, code: "usage" });
  });
});

/** Reads a stream until it has said so much. */
async function streamed(path: string, until: RegExp, headers: Record<string, string> = {}): Promise<string> {
  const left = new AbortController();
  const cookie = (page as unknown as { cookie: string }).cookie;
  const response = await fetch(new URL(path, page.origin), { headers: { cookie, ...headers }, signal: left.signal });
  let text = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    if (until.test(text)) break;
  }
  left.abort();
  return text;
}

describe("the stream of a sweep", () => {
  test("gives lines after a position, with the position as id, then what comes", async () => {
    const last = whole.length;
    const reading = streamed(`${pagePaths.stream(sweepId)}?after=${last - 1}`, /retried/);
    page.log.add({ kind: "paused", code: "retried", reason: "" });
    const text = await reading;
    expect(text.match(/^id: .*$/gm)).toEqual([`id: ${last}`, `id: ${last + 1}`]);
  });

  test("goes on after Last-Event-ID, and says once when numbers changed", async () => {
    const headers = { "last-event-id": String(whole.length) };
    const text = await streamed(`${pagePaths.stream(sweepId)}?after=0`, /changed/, headers);
    expect(text).not.toMatch(/^id:/m);
    expect(text.match(/^event: changed$/gm)).toHaveLength(1);
  });

  test("tells the newest of what comes at once", async () => {
    await page.again(midway.slice(0, 5));
    const reading = streamed(`${pagePaths.stream(sweepId)}?after=5`, /the last/);
    const storm = Array.from({ length: 1_000 }, (_, place) => ({ code: "x", reason: `${place}` }));
    page.log.add(...[...storm, { code: "x", reason: "the last" }].map((one) => ({ kind: "paused" as const, ...one })));
    const lines = (await reading).match(/^event: line$/gm) ?? [];
    expect(lines.length).toBeGreaterThanOrEqual(200);
    expect(lines.length).toBeLessThan(1_000);
  });

  test("tells of what is stored while it is open", async () => {
    await page.again(midway.slice(0, 5));
    const reading = streamed(`${pagePaths.stream(sweepId)}?after=5`, /stored meanwhile/);
    page.log.add({ kind: "paused", code: "x", reason: "stored meanwhile" });
    expect(await reading).toContain("id: 6\nevent: line");
  });
});

describe("a task", () => {
  const line = (model: string, document: string, nats: number) =>
    JSON.stringify({ model, task: "Hamlet", split: "test", document, date: "", tokens: 10, characters: 40, nats });

  beforeEach(async () => {
    const write = async (folder: string, lines: string[]) => {
      await mkdir(join(page.dir, sweepId, folder), { recursive: true });
      await writeFile(join(page.dir, sweepId, folder, "documents.jsonl"), `${lines.join("\n")}\n`);
    };
    await write("base", [line("base", "d1", 60), line("base", "d2", 61)]);
    for (const [place, id] of trialIds.entries())
      await write(`trials/${id}`, [
        line("task", "d1", 50 - place),
        line("task", "d2", 40),
        line("prior-mean", "d1", 9),
      ]);
  });

  test("has its documents under every tau and under the base model", async () => {
    const task = await read(pagePaths.task(sweepId, "task-0"), api.TaskView);
    expect(task).toMatchObject({ name: "Hamlet", taus: [0, 1000, Infinity], best: Infinity, more: 0 });
    expect(task.scored).toEqual([
      { document: "d1", date: "", tokens: 10, base: 6, natsPerToken: [5, 4.9, 4.8] },
      { document: "d2", date: "", tokens: 10, base: 6.1, natsPerToken: [4, 4, 4] },
    ]);
    expect(task.figure?.overall).toHaveLength(3);
  });

  test("whose documents were not scored yet has none", async () => {
    const task = await read(`${pagePaths.task(sweepId, "task-1")}?split=validation`, api.TaskView);
    expect(task).toMatchObject({ name: "Rosalind <b>", split: "validation", scored: [] });
  });

  test("that is not there is refused with those that are; so is a path for a name", async () => {
    expect(await refused(pagePaths.task(sweepId, "none"))).toMatchObject({ status: 404, hint: /task-0, task-1/ });
    expect(await refused(pagePaths.task(sweepId, "../../x"))).toMatchObject({ status: 404 });
    expect(await refused(`${pagePaths.task(sweepId, "task-0")}?split=train`)).toMatchObject({ status: 400 });
  });
});

test("trainers: what they are, hold and use since the last look", async () => {
  let cpuSeconds = 10;
  const look = {
    ...{ trainerId, address: "127.0.0.1:1", answers: true, devices: [] },
    processes: 2,
    residentBytes: 2 ** 30,
  };
  await page.again(midway, { lookAtTrainers: () => Promise.resolve([{ ...look, cpuSeconds }]) });
  const first = await read(pagePaths.trainers, api.Trainers);
  expect(first.trainers).toMatchObject([{ trainerId, cpuShare: null, sweepId, pack: { number: 1, step: 20 } }]);
  cpuSeconds += 3;
  page.nowMs += 2_000;
  expect((await read(pagePaths.trainers, api.Trainers)).trainers).toMatchObject([{ cpuShare: 1.5 }]);
});

describe("read them speak", () => {
  const asked = { prompt: "To be", seed: 7, maxTokens: 3, temperature: 0, topP: 1 };
  const task = { at: "task", sweepId, trialId: "trial1", task: "Hamlet" } as const;
  let requests: GenerateRequest[];
  let left: boolean;

  async function* speak(request: GenerateRequest, { signal }: GenerateOptions = {}): AsyncIterable<GeneratedPiece> {
    requests.push(request);
    yield { source: 0, text: " or", done: null };
    if (request.prompt === "forever")
      await new Promise<void>((resolve) => {
        signal?.addEventListener("abort", () => {
          left = true;
          resolve();
        });
      });
    if (request.prompt === "too long")
      throw new BoraError("document_too_long", "the prompt has 300 tokens, the model reads 128", {
        hint: "shorten it",
      });
    yield { source: 0, text: " not", done: "length" };
  }

  beforeEach(async () => {
    [requests, left] = [[], false];
    await page.again(whole, { generate: speak });
  });

  const say = (body: unknown) => page.post(pagePaths.speak, body);
  const linesOf = (body: string) =>
    body
      .trim()
      .split("\n")
      .map((text) => api.SpokenLine.parse(JSON.parse(text)));

  test("continues a prompt piece by piece, with the model of the sweep", async () => {
    const { status, body } = await say({ ...asked, sources: [{ at: "base", sweepId }, task] });
    expect(status).toBe(200);
    expect(linesOf(body)).toEqual([
      { source: 0, text: " or", done: null },
      { source: 0, text: " not", done: "length" },
    ]);
    expect(requests).toMatchObject([
      { ...asked, sources: [{ at: "base" }, task], model: { source: "path", path: "/model" } },
    ]);
  });

  test("ends in the error that stopped it", async () => {
    const { body } = await say({ ...asked, prompt: "too long", sources: [task] });
    expect(linesOf(body).at(-1)).toMatchObject({ error: { code: "document_too_long", hint: "shorten it" } });
  });

  test("stops when the reader leaves", async () => {
    const leaving = new AbortController();
    const own = page as unknown as { cookie: string; csrf: string };
    const headers = {
      cookie: own.cookie,
      origin: page.origin,
      [api.csrfHeader]: own.csrf,
      "content-type": "application/json",
    };
    const body = JSON.stringify({ ...asked, prompt: "forever", sources: [task] });
    const response = await fetch(new URL(pagePaths.speak, page.origin), {
      method: "POST",
      headers,
      body,
      signal: leaving.signal,
    });
    await response.body?.getReader().read();
    leaving.abort();
    await expect.poll(() => left).toBe(true);
  });

  test.each([
    ["a folder of the machine", { ...asked, sources: [{ at: "folder", path: "/etc" }] }],
    ["no source", { ...asked, sources: [] }],
    ["too many sources", { ...asked, sources: Array.from({ length: 13 }, () => task) }],
    ["a thousand tokens and one", { ...asked, maxTokens: 1_001, sources: [task] }],
    ["a model of its own", { ...asked, model: { source: "hub", id: "x", download: true }, sources: [task] }],
  ])("refuses %s", async (_name, body) => {
    expect((await say(body)).status).toBe(400);
    expect(requests).toEqual([]);
  });
});
