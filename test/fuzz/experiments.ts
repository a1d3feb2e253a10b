import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseExperiment, readExperiment, runBase, wire, type ExperimentSpec } from "@bora/contracts";
import { parse, stringify } from "yaml";
import type { Random } from "../faults/random.js";
import { hostileString, hostileValue, mutateText, mutateValue, randomBytes } from "./hostile.js";
import { judge, Unsound } from "./judge.js";
import { add } from "./tally.js";
import type { Session } from "./worker.js";

const examples = ["shakespeare.yaml", "storting.yaml"].map((name) =>
  readFileSync(fileURLToPath(new URL(`../../examples/${name}`, import.meta.url)), "utf8"),
);
/** Every field that an experiment may have, so that mutations reach all of them. */
const full = {
  name: "full",
  model: { source: "hub", id: "org/model", download: true, dtype: "bfloat16" },
  data: {
    ...{ source: "csv", path: "speeches.csv", maxTokens: 128 },
    columns: { task: "who", prompt: "asked", completion: "said", id: "id", date: "date" },
    tasks: { names: ["a", "b"], minDocuments: 3, trainDocuments: [4, 5], sizes: [1, 2, "all"] },
    split: { by: "date", seed: 3, fractions: [0.5, 0.25, 0.25] },
  },
  adapter: { family: "rslora", rank: 8, alpha: 16, targets: ["q_proj", "v_proj"], layers: [0, 1] },
  prior: { family: "gaussian", taus: [0, 1e3, "inf"], tau0: 0.5, mean: { path: "theta" } },
  train: {
    ...{ maxSteps: 50, patience: 2, evaluateEvery: 5, checkpointEvery: 10, sampler: "documents", tokensPerTask: 300 },
    ...{ documentsPerTask: 2, validationDocuments: 5, learningRate: 1e-3, warmupSteps: 5, decay: "cosine" },
    ...{ betas: [0.9, 0.99], epsilon: 1e-8, bestStep: "trial", seeds: [0, 1] },
  },
  evaluate: { float32Check: true, adapters: [{ name: "one", path: "adapter" }, { name: "base" }] },
  pack: { maxTrials: 4, maxRows: 64 },
  engine: { compile: false, cudaGraph: false },
};
const bases: unknown[] = [full, ...examples.map((text): unknown => parse(text))];

/** Shapes of YAML that are cheap to write and dear to read. */
const bombs: readonly ((random: Random) => string)[] = [
  (random) => {
    const width = random.whole(2, 12);
    const lines = Array.from({ length: random.whole(2, 12) }, (_, level) => {
      const items = level === 0 ? '"x"' : `*a${level - 1}`;
      return `a${level}: &a${level} [${Array<string>(width).fill(items).join(", ")}]`;
    });
    return `${lines.join("\n")}\nname: *a${lines.length - 1}\n`;
  },
  (random) => `name: ${"[".repeat(random.pick([10, 1_000, 20_000]))}`,
  (random) => {
    const depth = random.pick([50, 900, 5_000]);
    return `name: ${"[".repeat(depth)}${"]".repeat(depth)}\n`;
  },
  (random) => Array.from({ length: random.whole(10, 300) }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n"),
  () => "name: &loop\n  again: *loop\n",
  () => "&loop [ *loop ]\n",
  () => "prior: &p { taus: [*p] }\nname: *p\n",
  (random) => `%YAML 1.1\n---\n${random.pick(examples)}\nname: !!binary "AAAA"\ndata: !!set {a, b}\n`,
  (random) => `--- !!timestamp 2026-01-01\n...\n--- ${random.pick(examples)}`,
  (random) => `<<: {__proto__: {polluted: true}}\n${random.pick(examples)}`,
  (random) => `__proto__: {polluted: true}\nconstructor: {prototype: {polluted: true}}\n${random.pick(examples)}`,
  (random) => `name: "${"\\u0000".repeat(random.whole(1, 2_000))}"\n`,
  (random) => `? ${JSON.stringify(hostileValue(random))}\n: ${JSON.stringify(hostileValue(random))}\n`,
  (random) => randomBytes(random, random.whole(0, 300)).toString("latin1"),
];

function assignment(random: Random): string {
  const paths = [
    "train.maxSteps",
    "prior.taus",
    "name",
    "data.tasks.top",
    "data",
    "__proto__.x",
    "constructor.prototype.x",
  ];
  const value = random.next() < 0.5 ? hostileString(random) : JSON.stringify(hostileValue(random));
  return `${random.next() < 0.9 ? random.pick(paths) : hostileString(random)}${random.next() < 0.95 ? "=" : ""}${value}`;
}

interface Input {
  text: string;
  overrides: { taus?: string; set?: string[] };
}

function make(random: Random): Input {
  const kind = random.next();
  const base = random.pick(bases);
  const text =
    kind < 0.35
      ? stringify(mutateValue(random, base))
      : kind < 0.6
        ? JSON.stringify(mutateValue(random, base))
        : kind < 0.9
          ? mutateText(random, random.pick(examples))
          : random.pick(bombs)(random);
  const overrides: Input["overrides"] = {};
  if (random.next() < 0.15) overrides.set = [assignment(random)];
  if (random.next() < 0.05) overrides.taus = random.pick(["0,1,inf", "", ",", "1,,2", hostileString(random)]);
  return { text, overrides };
}

/** What was taken has to arrive at a trainer as it was written: no number may be cut to the wire's size. */
function checkWire(spec: ExperimentSpec): void {
  const base = runBase(spec);
  const sent = wire.RunSpec.fromPartial({ ...base, runId: "r" });
  const arrived = wire.RunSpec.decode(wire.RunSpec.encode(sent).finish());
  if (JSON.stringify(arrived) !== JSON.stringify(sent))
    throw new Unsound("the trainer would read another experiment than was written");
}

function checkPrototypes(): void {
  if ("polluted" in {} || "x" in {}) throw new Unsound("a key of the file became one of every object");
}

/** Experiment files from disk with what a command line lays over them, and the same values from a program. */
export function open(): Promise<Session> {
  const folder = mkdtempSync(join(tmpdir(), "bora-fuzz-"));
  const file = join(folder, "experiment.yaml");
  const read = async ({ text, overrides }: Input): Promise<void> => {
    writeFileSync(file, text);
    try {
      checkWire(await readExperiment(file, overrides));
    } finally {
      checkPrototypes();
    }
  };
  return Promise.resolve({
    async run(random, count) {
      const ofPrograms = Math.floor(count / 4);
      const [files, programs] = [
        await judge(random, count - ofPrograms, make, read),
        await judge(
          random,
          ofPrograms,
          (one) => mutateValue(one, one.pick(bases)),
          (value) => checkWire(parseExperiment(value)),
        ),
      ];
      return add(files, programs);
    },
    [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true });
      return Promise.resolve();
    },
  });
}
