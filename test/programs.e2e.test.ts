import { copyFileSync, existsSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore } from "@bora/store";
import { execa } from "execa";
import { beforeAll, describe, expect, test } from "vitest";
import { prepareFolder, runBlock } from "./fixtures/run-block.js";
import { blocksOf, pagesOf, type CodeBlock } from "./tools/code-blocks.js";
import { makeTinyData, processesOf, writeExperiment } from "./fixtures/command-line.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const minutes = (n: number) => n * 60_000;
let spec = "";
let threeTasks = "";
beforeAll(async () => {
  const folder = await makeTinyData();
  spec = writeExperiment(folder, "tiny");
  const columns = { text: "text", id: "id", date: "date" };
  const data = { source: "csv", path: join(folder, "speeches.csv"), columns, maxTokens: 48 };
  threeTasks = writeExperiment(folder, "three", { data: { ...data, tasks: { names: ["farmer", "sailor", "baker"] } } });
}, minutes(2));

/** Runs a TypeScript program until it ends by itself. */
const run = (program: string, ...args: string[]) =>
  execa("node", ["--import", "tsx", join(root, program), ...args], { reject: false, stdin: "ignore", all: true });

const fail = (): never => {
  throw new Error("the pages hold no program that trains");
};

const newFolder = () => join(mkdtempSync(join(tmpdir(), "bora-programs-")), "runs");

describe("examples, from nothing to the end", () => {
  test(
    "tau-sweep trains every tau, says which is best and by how much; again it trains nothing",
    async () => {
      const out = newFolder();
      const first = await run("examples/tau-sweep.ts", spec, out);
      expect(first.all).toMatch(/step 4: \d\.\d{4} nats per token on validation/);
      expect(first.all).toMatch(/is best on validation; on test \d\.\d{4} nats per token/);
      expect(first.all).toMatch(/minus tau = \w+: -?\d\.\d{4} \(95 % interval -?\d\.\d{4} to -?\d\.\d{4}\)/);
      expect(first.exitCode).toBe(0);
      const again = await run("examples/tau-sweep.ts", spec, out);
      expect(again.all).not.toContain("reading the model");
      expect(again.stdout.split("\n").slice(-2)).toEqual(first.stdout.split("\n").slice(-2));
      expect(await processesOf(out)).toEqual([]);
    },
    minutes(5),
  );

  test(
    "lora-against-rslora trains both families and compares them document by document",
    async () => {
      const out = newFolder();
      const { all, exitCode } = await run("examples/lora-against-rslora.ts", spec, out);
      expect(all).toMatch(/^rsLoRA minus LoRA: -?\d\.\d{4} nats per token on 18 test documents$/m);
      expect(all).toMatch(/^95 % interval -?\d\.\d{4} to -?\d\.\d{4}, p = \d\.\d{3}$/m);
      expect(exitCode).toBe(0);
      expect(readdirSync(out).filter((name) => existsSync(join(out, name, "results.json")))).toHaveLength(2);
      expect(await processesOf(out)).toEqual([]);
    },
    minutes(5),
  );

  test(
    "new-task adapts Theta of three tasks to a fourth, and says what that is worth beside the alternatives",
    async () => {
      const out = newFolder();
      const { all, exitCode } = await run("examples/new-task.ts", threeTasks, out, "miner");
      expect(all).toMatch(/^miner: tau = /m);
      expect(all).toMatch(/^adapted minus base: -?\d\.\d{4} nats per token/m);
      expect(exitCode).toBe(0);
      const [, adapter = ""] = /^the adapter is in (.+)$/m.exec(all) ?? [];
      expect(readdirSync(adapter)).toEqual(
        expect.arrayContaining(["adapter_config.json", "adapter_model.safetensors"]),
      );
      expect(await processesOf(out)).toEqual([]);
    },
    minutes(5),
  );
});

test(
  "a program that disposes its lab in the middle of a sweep ends by itself, holds nothing, and can go on",
  async () => {
    const out = newFolder();
    const { stdout, exitCode } = await run("test/fixtures/leaving-program.ts", spec, out);
    expect(stdout.split("\n")).toEqual(["planned", "trains", "disposed []"]);
    expect(exitCode).toBe(0);
    expect(await processesOf(out)).toEqual([]);
    await (await openStore({ dir: out, mode: "write" }))[Symbol.asyncDispose](); // throws store_busy while it is held
    const { all } = await run("examples/tau-sweep.ts", spec, out);
    expect(all).toMatch(/is best on validation/);
    expect(all).not.toContain("reading the model");
  },
  minutes(5),
);

test(
  "the programs in README and docs that train run one after another, the one that stops itself first",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "bora-programs-"));
    prepareFolder(folder);
    copyFileSync(spec, join(folder, "experiment.yaml"));
    const slow = pagesOf(root).flatMap((page) => blocksOf(root, page, "ts").filter(({ kind }) => kind === "slow"));
    const stops = ({ text }: CodeBlock) => text.includes("AbortController");
    const [first, ...others] = slow.toSorted((a, b) => Number(stops(b)) - Number(stops(a)));
    expect(await runBlock(first ?? fail(), folder)).toMatch(/^(interrupted|done)$/m);
    expect(others.length).toBeGreaterThan(1);
    for (const block of others) expect(await runBlock(block, folder)).toContain("macroTest");
    expect(await processesOf(folder)).toEqual([]);
  },
  minutes(5),
);
