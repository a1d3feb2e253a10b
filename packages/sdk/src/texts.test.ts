import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { BoraError, parseExperiment, wire, type Inspected } from "@bora/contracts";
import { systemClock } from "@bora/scheduler";
import { openStore } from "@bora/store";
import type { TextTrainer } from "@bora/trainer-client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chooseSources } from "./choose-sources.js";
import { exportAdapters } from "./export/export-adapters.js";
import type { ExportRequest } from "./export/export-request.js";
import { InstantTrainers } from "./instant-trainer.fixture.js";
import type { GenerateRequest } from "./generate-request.js";
import { LocalLab } from "./local-lab.js";
import { TextLab } from "./text-lab.js";
import { writeResults } from "./write-results.js";

let dir: string;
let sweepId: string;
let trials: { id: string; tau: number }[];
let trainers: InstantTrainers;
let lab: LocalLab;

const tasks = ["Romeo & Juliet: ROMEO", "the | nurse"];
const slugs = ["romeo", "the-nurse"];
const counts = { train: 3, validation: 1, test: 1 };
const inspected: Inspected = {
  tasks: tasks.map((name, at) => ({
    ...{ name, slug: slugs[at] ?? "", documents: counts, cutDocuments: 0, cutTokens: 0 },
    scoredTokens: { train: 90, validation: 10, test: 10 },
  })),
  ...{ dataHash: "data-hash", modelHash: "model-hash", modelName: "/models/tiny", warnings: [], files: [] },
  ...{ baseParameters: 1000, parametersPerRow: 8, adaptedModules: 2, bytesPerRow: 1000, baseBytes: 1000 },
  ...{ trainTokensPerSecond: 100, evaluateTokensPerSecond: 100, bytesPerFit: 1, activationBytesPerToken: 1 },
  ...{ keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1, processBytes: 1, prefixCacheBytes: 0 },
  ...{ device: "cpu", freeMemoryBytes: 1, memoryBytes: 1 },
};

const experiment = (rank = 16) =>
  parseExperiment({
    name: "tiny",
    model: { source: "path", path: "/models/tiny" },
    data: { source: "shakespeare", tasks: { all: true } },
    adapter: { targets: ["q_proj"], rank },
    prior: { taus: [0, 1, "inf"] },
  });

/** A trainer that says each adapter's folder, and merges by writing one file. */
class FolderTrainer implements TextTrainer {
  readonly asked: wire.GenerateRequest[] = [];
  breaks = false;

  async *generate(request: wire.GenerateRequest): AsyncGenerator<wire.GenerateResponse> {
    this.asked.push(request);
    for (const [adapter, { source }] of request.adapters.entries()) {
      const text = source?.$case === "folder" ? source.folder.slice(dir.length) : "base";
      yield { adapter, text, token: 1, finish: wire.Finish.UNSPECIFIED };
      yield { adapter, text: "", token: 2, finish: adapter === 0 ? wire.Finish.END : wire.Finish.LENGTH };
    }
  }

  async merge({ dtype }: wire.MergeRequest, to: string): Promise<string[]> {
    await writeFile(join(to, "config.json"), JSON.stringify({ dtype: wire.Dtype[dtype].toLowerCase() }));
    if (this.breaks) throw new BoraError("trainer_lost", "it is gone", { hint: "see its log" });
    await writeFile(join(to, "model.safetensors"), "weights");
    return ["config.json", "model.safetensors"];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // nothing is open
  }
}
let texts: FolderTrainer;

const parts = () => ({
  ...{
    dir,
    clock: systemClock,
    freeMemoryBytes: () => Infinity,
    maxTrainers: () => Promise.resolve(1),
    writeResults,
    leaseMs: 60_000,
    newId: randomUUID,
  },
  openReader: () => openStore({ dir, mode: "read" }),
  openWriter: () => openStore({ dir, mode: "write" }),
  placer: () => Promise.resolve(trainers.placer),
  connectTrainer: () => trainers.connect(),
  maxTrainers: () => Promise.resolve(1),
  connectTextTrainer: () => Promise.resolve(texts),
});

async function sweep(rank?: number): Promise<void> {
  const handle = await lab.sweep(experiment(rank));
  const { results } = await handle.outcome();
  sweepId = handle.sweepId;
  trials = (results?.trials ?? []).map(({ id, tau }) => ({ id, tau }));
  for (const { id } of trials)
    for (const slug of [...slugs, "prior-mean"]) {
      const folder = join(dir, sweepId, "adapters", id, slug);
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "adapter_config.json"), "{}");
      await writeFile(join(folder, "adapter_model.safetensors"), `${id} ${slug}`);
    }
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-"));
  trainers = new InstantTrainers({ inspected });
  texts = new FolderTrainer();
  lab = new LocalLab(parts());
  await sweep();
});
afterEach(async () => {
  await lab[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

const trialAt = (tau: number): string => trials.find((trial) => trial.tau === tau)?.id ?? "";
const asked = (sources: GenerateRequest["sources"]): GenerateRequest => ({
  ...{ sources, prompt: "so", seed: 3, maxTokens: 5, temperature: 0.5, topP: 0.9 },
});

async function said(request: GenerateRequest): Promise<string[]> {
  const whole: string[] = [];
  for await (const { source, text, done } of lab.generate(request))
    whole[source] = `${whole[source] ?? ""}${text}${done === null ? "" : ` (${done})`}`;
  return whole;
}

describe("texts", () => {
  test("are asked of every source's folder, by name or slug, on the sweep's base", async () => {
    const of = { sweepId, trialId: trialAt(1) };
    const whole = await said(
      asked([
        { at: "base" },
        { at: "prior-mean", ...of },
        { at: "task", ...of, task: "the | nurse" },
        { at: "task", ...of, task: "romeo" },
        { at: "folder", path: `${dir}/mine` },
      ]),
    );
    const under = `/${sweepId}/adapters/${of.trialId}`;
    expect(whole).toEqual([
      "base (end)",
      ...[`${under}/prior-mean`, `${under}/the-nurse`, `${under}/romeo`, "/mine"].map((text) => `${text} (length)`),
    ]);
    expect(texts.asked[0]).toMatchObject({ prompt: "so", seed: 3, maxTokens: 5, temperature: 0.5, topP: 0.9, topK: 0 });
    expect(texts.asked[0]?.model?.source).toEqual({ $case: "path", path: "/models/tiny" });
  });

  test("one trainer serves all requests, and is gone with the lab", async () => {
    const before = trainers.living.size;
    await said(asked([{ at: "prior-mean", sweepId, trialId: trialAt(1) }]));
    await said(asked([{ at: "prior-mean", sweepId, trialId: trialAt(0) }]));
    expect(trainers.living.size).toBe(before + 1);
    await lab[Symbol.asyncDispose]();
    expect(trainers.living.size).toBe(before);
  });

  test.each([
    ["an unknown sweep", () => [{ at: "prior-mean" as const, sweepId: "none", trialId: "x" }], "sweep_unknown"],
    ["an unknown trial", () => [{ at: "prior-mean" as const, sweepId, trialId: "x" }], "trial_unknown"],
    ["an unknown task", () => [{ at: "task" as const, sweepId, trialId: trialAt(1), task: "x" }], "task_unknown"],
    ["no sweep and no model", () => [{ at: "base" as const }], "usage"],
    ["no source", () => [], "usage"],
  ])("with %s are refused, with what there is", async (_name, sources, code) => {
    const error: unknown = await said(asked(sources())).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code });
    if (code === "task_unknown") expect(error).toMatchObject({ hint: expect.stringContaining("ROMEO") });
    if (code === "trial_unknown") expect(error).toMatchObject({ hint: expect.stringContaining("tau inf") });
  });

  test("of an adapter that was deleted are refused", async () => {
    await rm(join(dir, sweepId, "adapters", trialAt(1), "romeo"), { recursive: true });
    const source = { at: "task" as const, sweepId, trialId: trialAt(1), task: "romeo" };
    await expect(said(asked([source]))).rejects.toMatchObject({ code: "adapter_unreadable" });
  });

  test("while the lab trains are refused as busy", async () => {
    trainers.script.lingers = true;
    const handle = await lab.sweep(parseExperiment({ ...experiment(), name: "other", prior: { taus: [7] } }));
    await expect(said(asked([{ at: "prior-mean", sweepId, trialId: trialAt(1) }]))).rejects.toMatchObject({
      code: "busy",
    });
    await handle.send({ verb: "cancel" });
    await handle.outcome();
  });
});

describe("the choice of sources", () => {
  const labels = async (choice: Parameters<typeof chooseSources>[2]) =>
    (await chooseSources({ dir }, sweepId, choice)).sources.map(({ label }) => label);

  test("is the base, Theta and the tasks at the best trial when nothing is said", async () => {
    expect(await labels({})).toEqual(["base model", "Theta, tau 1", `${tasks[0]}, tau 1`, `${tasks[1]}, tau 1`]);
    expect(await labels({ taus: [0, Infinity], priorMean: true })).toEqual(["Theta, tau 0", "Theta, tau inf"]);
    expect(await labels({ tasks: ["romeo"], base: true, folders: ["/a"] })).toEqual([
      "base model",
      `${tasks[0]}, tau 1`,
      "/a",
    ]);
  });

  test("comes with the sweep's base, so that the base alone can be asked", async () => {
    const { model, sources } = await chooseSources({ dir }, sweepId, { base: true });
    expect(await said({ ...asked(sources.map(({ source }) => source)), model })).toEqual(["base (end)"]);
  });

  test("of a tau that is not there lists those that are", async () => {
    await expect(labels({ taus: [5] })).rejects.toMatchObject({
      code: "trial_unknown",
      message: expect.stringContaining("no trial at tau 5"),
      hint: expect.stringContaining("tau 1,"),
    });
  });
});

const exportTo = (name: string, request: Partial<ExportRequest> = {}) =>
  lab.export({ sweepId, to: join(dir, name), format: "peft", ...request });

describe("an export", () => {
  test("is a folder an adapter with its card, all tasks and Theta of the best trial", async () => {
    const { folder, adapters, serve, bytes } = await exportTo("out");
    expect(adapters.map(({ name, task, tau }) => [name, task, tau])).toEqual([
      ["romeo", tasks[0], 1],
      ["the-nurse", tasks[1], 1],
      ["prior-mean", null, 1],
    ]);
    expect(serve).toBeNull();
    expect(bytes).toBeGreaterThan(1000);
    expect((await readdir(folder)).sort()).toEqual(["bora-export.json", "prior-mean", "romeo", "the-nurse"]);
    expect(await readFile(join(folder, "romeo", "adapter_model.safetensors"), "utf8")).toBe(`${trialAt(1)} romeo`);
    const card = await readFile(join(folder, "the-nurse", "README.md"), "utf8");
    expect(card).toMatchSnapshot();
    expect(await readFile(join(folder, "prior-mean", "README.md"), "utf8")).toContain("# Theta, tau = 1");
  });

  test("again is the same, byte by byte", async () => {
    const [first, second] = [await exportTo("out"), await exportTo("again")];
    for (const name of await readdir(first.folder, { recursive: true })) {
      const [a, b] = [join(first.folder, name), join(second.folder, name)];
      if ((await stat(a)).isFile()) expect(await readFile(a)).toEqual(await readFile(b));
    }
  });

  test("of several taus names them apart", async () => {
    const { adapters } = await exportTo("out", { taus: [0, Infinity], tasks: ["romeo"] });
    expect(adapters.map(({ name }) => name)).toEqual(["romeo-tau-0", "romeo-tau-inf"]);
  });

  test("merged has whole models, of the dtype that was asked", async () => {
    const { folder } = await exportTo("out", { format: "merged", tasks: ["romeo"], dtype: "bfloat16", license: "mit" });
    expect((await readdir(join(folder, "romeo"))).sort()).toEqual(["README.md", "config.json", "model.safetensors"]);
    const card = await readFile(join(folder, "romeo", "README.md"), "utf8");
    expect(card).toContain("library_name: transformers");
    expect(card).toContain('license: "mit"');
    expect(card).toContain("(bfloat16)");
  });

  test("for vLLM has the command that serves it, here and from where it is moved to", async () => {
    const { folder, serve } = await exportTo("out", { format: "vllm", tasks: ["romeo"], priorMean: true });
    const modules = (under: string) => `romeo=${under}adapters/romeo prior-mean=${under}adapters/prior-mean`;
    const options = "--enable-lora --max-lora-rank 16 --lora-modules";
    expect(serve).toBe(`vllm serve /models/tiny ${options} ${modules(`${folder}/`)}`);
    const script = join(folder, "vllm-serve.sh");
    expect(await readFile(script, "utf8")).toContain(`exec vllm serve /models/tiny ${options} ${modules("")} "$@"`);
    expect((await stat(script)).mode & 0o111).toBe(0o111);
  });

  test("to a folder that is there is refused, and --force replaces nothing but an export", async () => {
    await exportTo("out", { tasks: ["romeo"] });
    await expect(exportTo("out")).rejects.toMatchObject({ code: "target_exists" });
    await exportTo("out", { tasks: ["the-nurse"], force: true });
    expect((await readdir(join(dir, "out"))).sort()).toEqual(["bora-export.json", "the-nurse"]);
    await mkdir(join(dir, "photos"));
    await writeFile(join(dir, "photos", "a.jpg"), "x");
    await expect(exportTo("photos", { force: true })).rejects.toMatchObject({ code: "target_exists" });
    expect(await readdir(join(dir, "photos"))).toEqual(["a.jpg"]);
  });

  test("that breaks off leaves what was there, and nothing of itself", async () => {
    await exportTo("out", { tasks: ["romeo"] });
    const before = (await readdir(dir)).sort();
    texts.breaks = true;
    await expect(exportTo("out", { format: "merged", force: true })).rejects.toMatchObject({ code: "trainer_lost" });
    expect((await readdir(dir)).sort()).toEqual(before);
    expect((await readdir(join(dir, "out"))).sort()).toEqual(["bora-export.json", "romeo"]);
  });

  test("clears what a killed one left", async () => {
    await mkdir(join(dir, ".out.unfinished-abc"));
    await exportTo("out");
    expect((await readdir(dir)).filter((name) => name.includes("unfinished"))).toEqual([]);
  });

  test("without room on the disk writes nothing", async () => {
    const results = await lab.results(sweepId);
    const request: ExportRequest = { sweepId, to: join(dir, "out"), format: "peft" };
    const options = { signal: new AbortController().signal, onStage: () => undefined };
    const texts = new TextLab(parts(), () => openStore({ dir, mode: "read" }));
    const without = exportAdapters(request, results, texts, options, () => Promise.resolve(1000));
    await expect(without).rejects.toMatchObject({ code: "disk_full", message: expect.stringContaining("1000") });
    expect(await readdir(dir)).not.toContain("out");
  });

  test.each([
    ["an unknown task", { tasks: ["x"] }, "task_unknown"],
    ["an unknown tau", { taus: [5] }, "trial_unknown"],
    ["an unknown sweep", { sweepId: "none" }, "sweep_unknown"],
  ])("of %s is refused", async (_name, request, code) => {
    await expect(exportTo("out", request)).rejects.toMatchObject({ code });
    expect(await readdir(dir)).not.toContain("out");
  });
});

test("a rank that vLLM does not serve is refused", async () => {
  await sweep(600);
  await expect(exportTo("out", { format: "vllm" })).rejects.toMatchObject({
    code: "usage",
    message: "vLLM serves adapters up to rank 512, these have 600",
  });
});
