import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Adaptation, Evaluation, FewShotCurves } from "@bora/contracts";
import { parquetReadObjects } from "hyparquet";
import { beforeAll, describe, expect, it } from "vitest";
import { makeTinyData, resultsOf, run, short, startUntil, writeExperiment } from "./fixtures/command-line.js";

const minutes = (n: number) => n * 60_000;
const longestName = `tiny-${"n".repeat(58)}`; // names, ids and folders made from it must do too
let folder = "";
let out = "";
let sweep = "";
const json = (file: string): unknown => JSON.parse(readFileSync(file, "utf8"));
const adapter = (trial: string, name: string) => join(out, sweep, "adapters", trial, name);

beforeAll(async () => {
  folder = await makeTinyData();
  out = join(folder, "runs");
  const source = {
    source: "csv",
    path: join(folder, "speeches.csv"),
    columns: { text: "text", id: "id" },
    maxTokens: 48,
  };
  const changes = {
    data: { ...source, tasks: { names: ["farmer", "sailor", "baker"] } },
    prior: { taus: [1e3, "inf"] },
    train: { ...short, maxSteps: 8 },
  };
  const done = await run("sweep", "--spec", writeExperiment(folder, longestName, changes), "--out", out);
  expect(done.stderr + done.stdout).toContain("exit 0");
  sweep = readdirSync(out).find((name) => name.startsWith("tiny-")) ?? "";
}, minutes(4));

describe("bora adapt", () => {
  it(
    "fits an unseen task under Theta beside base, Theta and scratch; killed, it goes on and gives the same",
    async () => {
      const args = ["adapt", sweep, "--task", "miner", "--documents", "4", "--tau", "1e3"];
      const elsewhere = join(folder, "killed");
      cpSync(out, elsewhere, { recursive: true });
      const first = await run(...args, "--out", out);
      expect(first.stdout + first.stderr).toContain("exit 0");
      const place = join(out, sweep, "adapt", "miner-4-tau-1e3");
      const found = Adaptation.parse(json(join(place, "adapt.json")));
      expect(found.models.map(({ name }) => name)).toEqual(["base", "prior-mean", "scratch", "adapted"]);
      expect(found.data.documents).toEqual({ train: 4, validation: 2, test: 2 });
      expect(existsSync(join(place, "adapter", "adapter_model.safetensors"))).toBe(true);
      const again = await run(...args, "--out", out);
      expect(again.stdout).toContain("finished before");
      expect(json(join(place, "adapt.json"))).toEqual(found);
      const killed = [...args, "--out", elsewhere];
      const { pid, ended } = await startUntil(killed, ({ kind }) => kind === "checkpoint_saved");
      process.kill(pid, "SIGKILL");
      await ended;
      expect((await run(...killed)).exitCode).toBe(0);
      const { models, differences, endings } = Adaptation.parse(
        json(join(elsewhere, sweep, "adapt", "miner-4-tau-1e3", "adapt.json")),
      );
      expect({ models, differences, endings }).toEqual({
        ...{ models: found.models, differences: found.differences, endings: found.endings },
      });
    },
    minutes(6),
  );

  it(
    "gives Theta itself without documents",
    async () => {
      const { exitCode } = await run(
        "adapt",
        sweep,
        "--task",
        "miner",
        "--documents",
        "0",
        "--tau",
        "1e3",
        "--out",
        out,
      );
      expect(exitCode).toBe(0);
      const place = join(out, sweep, "adapt", "miner-0-tau-1e3");
      const found = Adaptation.parse(json(join(place, "adapt.json")));
      const weights = "adapter_model.safetensors";
      expect(readFileSync(join(place, "adapter", weights))).toEqual(readFileSync(join(found.prior.folder, weights)));
      const [base, theta, scratch, adapted] = found.models.map(({ natsPerToken }) => natsPerToken);
      expect([scratch, adapted]).toEqual([base, theta]);
    },
    minutes(3),
  );

  it(
    "refuses what it cannot build on, with code, numbers and hint",
    async () => {
      const columns = join(folder, "other.csv");
      writeFileSync(columns, "who,words\nminer,coal\n");
      const refusals = [
        [["adapt", "nowhere-1", "--task", "miner"], /error sweep_unknown: .* holds no sweep nowhere-1/],
        [["adapt", sweep, "--task", "farmer"], /error usage: task farmer is one of the 3/],
        [["adapt", sweep, "--task", "miner", "--tau", "7"], /error trial_unknown: .*tau = 7; there are 1e3, inf/],
        [
          ["adapt", sweep, "--task", "miner", "--documents", "900"],
          /error data_too_few_documents: .*900 training documents/,
        ],
        [
          ["adapt", sweep, "--task", "miner", "--data", columns],
          /error data_column_unknown: no column 'task', 'text', 'id'/,
        ],
      ] as const;
      for (const [args, message] of refusals) {
        const { exitCode, stderr } = await run(...args, "--out", out);
        expect(stderr).toMatch(message);
        expect(stderr).toContain("hint:");
        expect(exitCode).toBe(2);
      }
    },
    minutes(3),
  );

  it(
    "draws few-shot curves of a task that was left out",
    async () => {
      const args = ["adapt", sweep, "--curve", "--tasks", "baker", "--sizes", "1,4", "--tau", "1e3"];
      const done = await run(...args, "--set", "train.maxSteps=4", "--out", out);
      expect(done.stdout + done.stderr).toContain("exit 0");
      const place = join(out, sweep, "adapt", "curve-tau-1e3");
      const curves = FewShotCurves.parse(json(join(place, "few-shot.json")));
      expect(curves.sizes).toEqual([0, 1, 4, "all"]);
      expect(curves.sweeps.map(({ role }) => role)).toEqual(["others", "adapted", "scratch"]);
      expect(curves.points.filter(({ task }) => task === null)).toHaveLength(16);
      expect(readFileSync(join(place, "few-shot.svg"), "utf8")).toMatch(/^<svg.*from scratch/s);
    },
    minutes(5),
  );
});

describe("bora evaluate", () => {
  it(
    "scores the base, Theta, a task's adapter and a folder on every document of a file",
    async () => {
      const trial = resultsOf(out, sweep).trials.find(({ tau }) => tau === Infinity)?.id ?? "";
      const folderName = adapter(trial, "prior-mean");
      const data = join(folder, "speeches.csv");
      const names = ["base", "theta@1e3", "farmer@inf", folderName];
      const done = await run("evaluate", ...names, "--sweep", sweep, "--data", data, "--out", out, "--json");
      expect(done.exitCode).toBe(0);
      const { evaluation, folder: place } = JSON.parse(done.stdout.trim().split("\n").at(-1) ?? "") as {
        evaluation: unknown;
        folder: string;
      };
      const found = Evaluation.parse(evaluation);
      expect(found.adapters.map(({ name }) => name)).toEqual(["base", "theta@1e3", "farmer@inf", "prior-mean"]);
      expect(found.data.tasks.map(({ documents }) => documents)).toEqual([40, 24, 16, 10]);
      expect(found.adapters[2]?.macroPerplexity).toBe(found.adapters[3]?.macroPerplexity); // shared at infinity
      const file = readFileSync(join(place, "documents.parquet"));
      const rows = await parquetReadObjects({
        file: file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer,
      });
      expect(rows).toHaveLength(4 * 90);
    },
    minutes(4),
  );

  it(
    "refuses names that are nothing, and a sweep that has not ended",
    async () => {
      const unknown = await run("evaluate", "nobody", "--sweep", sweep, "--out", out);
      expect(unknown.stderr).toMatch(
        /error usage: nobody is no adapter folder and no task of tiny-.*\n.*hint: .*farmer, sailor, baker/,
      );
      const half = writeExperiment(folder, "half", { prior: { taus: [1] } });
      const { pid, ended } = await startUntil(
        ["sweep", "--spec", half, "--out", join(folder, "half")],
        ({ kind }) => kind === "checkpoint_saved",
      );
      process.kill(pid, "SIGINT");
      await ended;
      const known = await run("status", "--out", join(folder, "half"), "--json");
      const { sweepId: id } = JSON.parse(known.stdout) as { sweepId: string };
      const refused = await run("evaluate", "base", "--sweep", id, "--out", join(folder, "half"));
      expect(refused.stderr).toMatch(/error results_missing: .*0 of 1 trials are done/);
    },
    minutes(4),
  );
});
