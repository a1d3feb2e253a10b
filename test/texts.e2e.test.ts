import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { beforeAll, describe, expect, it } from "vitest";
import { makeTinyData, processesOf, resultsOf, run, writeExperiment } from "./fixtures/command-line.js";

const minutes = (n: number) => n * 60_000;
const root = fileURLToPath(new URL("..", import.meta.url));
const prompt = "the and of to in";

/** What transformers and PEFT say, without any code of ours. */
async function plain(...args: string[]): Promise<unknown> {
  const script = join(root, "test/fixtures/plain_transformers.py");
  const { stdout } = await execa(join(root, "trainer-py/.venv/bin/python"), [script, ...args]);
  return JSON.parse(stdout.split("\n").at(-1) ?? "");
}

let folder = "";
let out = "";
let sweepId = "";
let model = "";
beforeAll(async () => {
  folder = await makeTinyData();
  out = join(folder, "out");
  model = join(folder, "model");
  const done = await run("sweep", "--spec", writeExperiment(folder, "tiny"), "--out", out);
  expect(done.exitCode, done.stderr + done.stdout).toBe(0);
  sweepId = readdirSync(out).find((name) => name.startsWith("tiny-")) ?? "";
}, minutes(5));

/** The texts of `bora generate --json`, by label. */
async function generated(...args: string[]): Promise<Record<string, string>> {
  const { exitCode, stdout, stderr } = await run("generate", "--out", out, "--prompt", prompt, "--json", ...args);
  expect(exitCode, stderr).toBe(0);
  const texts: Record<string, string> = {};
  let labels: string[] = [];
  for (const line of stdout.split("\n")) {
    const said = JSON.parse(line) as { sources?: string[]; source?: number; text?: string };
    labels = said.sources ?? labels;
    const label = labels[said.source ?? -1];
    if (label !== undefined) texts[label] = (texts[label] ?? "") + (said.text ?? "");
  }
  return texts;
}

describe("bora generate", () => {
  const greedy = ["--temperature", "0", "--max-tokens", "16"];

  it(
    "writes what plain transformers and PEFT write, and so does the exported adapter",
    async () => {
      const texts = await generated(...greedy, "--tau", "1e3", "--task", "farmer", "--base", "--prior-mean");
      expect(Object.keys(texts)).toEqual(["base model", "Theta, tau 1e3", "farmer, tau 1e3"]);
      const exported = await run("export", "--out", out, "--tau", "1e3", "--to", join(folder, "peft"));
      expect(exported.exitCode, exported.stderr).toBe(0);
      expect(texts["base model"]).toBe(await plain("greedy", model, "-", prompt, "16"));
      for (const [label, name] of [
        ["Theta, tau 1e3", "prior-mean"],
        ["farmer, tau 1e3", "farmer"],
      ] as const)
        // prettier-ignore
        expect(texts[label], name).toBe(await plain("greedy", model, join(folder, "peft", name), prompt, "16"));
      expect(texts["farmer, tau 1e3"]).not.toBe(texts["base model"]);
      expect(await processesOf(out)).toEqual([]);
    },
    minutes(3),
  );

  it(
    "draws the same texts for the same seed, whatever else is asked, and others for another seed",
    async () => {
      const options = ["--max-tokens", "12", "--temperature", "1", "--seed", "4"];
      const all = await generated(...options);
      expect(Object.keys(all)).toHaveLength(6);
      const alone = await generated(...options, "--task", "miner");
      const [label = ""] = Object.keys(alone);
      expect(alone[label]).toBe(all[label]);
      expect((await generated(...options, "--seed", "5", "--task", "miner"))[label]).not.toBe(all[label]);
    },
    minutes(3),
  );

  it(
    "shows a person sections, and refuses with code, numbers and hint",
    async () => {
      const shown = await run("generate", sweepId, "--out", out, "--prompt", prompt, "--max-tokens", "4");
      expect(shown.stdout).toMatch(/^base model\s+Theta, tau /);
      const refused = async (...args: string[]) => {
        const { exitCode, stderr } = await run("generate", "--out", out, ...args);
        expect(exitCode).toBe(2);
        return stderr;
      };
      const long = await refused("--prompt", "the ".repeat(300), "--base");
      expect(long).toMatch(/error prompt_too_long: the prompt has \d{3} tokens, the model's context holds 128/);
      expect(long).toMatch(/hint: shorten it to 127 tokens/);
      expect(await refused("--prompt", "x", "--task", "nobody")).toMatch(/task_unknown[\s\S]*farmer/);
      expect(await refused("--prompt", "x", "--tau", "7")).toMatch(/trial_unknown[\s\S]*tau 1e3/);
      const foreign = join(folder, "foreign");
      cpSync(join(folder, "peft", "farmer"), foreign, { recursive: true });
      const config = JSON.parse(readFileSync(join(foreign, "adapter_config.json"), "utf8")) as object;
      const changed = { ...config, base_model_name_or_path: "someone/else" };
      writeFileSync(join(foreign, "adapter_config.json"), JSON.stringify(changed));
      expect(await refused("--prompt", "x", "--adapter", foreign)).toMatch(/adapter_mismatch.*'someone\/else'/);
    },
    minutes(3),
  );
});

describe("bora export", () => {
  it(
    "merges weights that give the nats of base and adapter, absolutely and relatively to 1e-3",
    async () => {
      const to = join(folder, "merged");
      const args = ["--tau", "1e3", "--task", "sailor", "--prior-mean", "--format", "merged", "--to", to];
      const merged = await run("export", "--out", out, ...args);
      expect(merged.exitCode, merged.stderr).toBe(0);
      const trial = resultsOf(out, sweepId).trials.find(({ tau }) => tau === 1000)?.id ?? "";
      for (const name of ["sailor", "prior-mean"]) {
        const text = "sea anchor storm mast the and of harbour rope tide wind deck island";
        const adapter = join(out, sweepId, "adapters", trial, name);
        const expected = Number(await plain("nats", model, adapter, text));
        const found = Number(await plain("nats", join(to, name), "-", text));
        expect(Math.abs(found - expected)).toBeLessThan(1e-3);
        expect(Math.abs(found / expected - 1)).toBeLessThan(1e-3);
        expect(Math.abs(found - Number(await plain("nats", model, "-", text)))).toBeGreaterThan(0.1);
      }
      expect(readdirSync(join(out, "trainer", "runs")).filter((name) => name.startsWith("."))).toEqual([]);
    },
    minutes(3),
  );

  it("lays out what vLLM serves, once", async () => {
    const to = join(folder, "serving");
    const args = ["export", "--out", out, "--format", "vllm", "--to", to];
    const { exitCode, stdout } = await run(...args);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(
      `vllm serve ${model} --enable-lora --max-lora-rank 8 --lora-modules farmer=${to}/adapters/`,
    );
    expect(readdirSync(join(to, "adapters")).sort()).toEqual(["baker", "farmer", "miner", "prior-mean", "sailor"]);
    expect(await run(...args)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("target_exists") });
  });
});
