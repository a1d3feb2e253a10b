import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { beforeAll, describe, expect, it } from "vitest";
import {
  killAndLetTheLeaseLapse,
  makeTinyData,
  processesOf,
  resultsOf,
  run,
  short,
  startUntil,
  writeExperiment,
} from "./fixtures/command-line.js";

const minutes = (n: number) => n * 60_000;
let folder = "";
const sweepIn = (out: string): string => readdirSync(out).find((name) => name.startsWith("tiny-")) ?? "";

beforeAll(async () => {
  folder = await makeTinyData();
}, minutes(2));

describe("bora sweep with a real trainer on a tiny model", () => {
  let out = "";
  let undisturbed: unknown;

  beforeAll(async () => {
    out = join(folder, "undisturbed");
    const done = await run("sweep", "--spec", writeExperiment(folder, "tiny"), "--out", out);
    expect(done.stderr + done.stdout).toContain("exit 0");
    expect(done.exitCode).toBe(0);
    undisturbed = resultsOf(out, sweepIn(out));
  }, minutes(5));

  it("writes results whose numbers follow from the documents", async () => {
    const results = resultsOf(out, sweepIn(out));
    expect(results.trials.map(({ tau, state }) => [tau, state])).toEqual([
      [0, "done"],
      [1000, "done"],
      [Infinity, "done"],
    ]);
    const file = readFileSync(join(out, sweepIn(out), "documents.parquet"));
    const rows = await parquetReadObjects({
      file: file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer,
    });
    for (const trial of results.trials) {
      const perTask = new Map<string, { nats: number; tokens: number }>();
      for (const row of rows) {
        if (row["trial"] !== trial.id || row["model"] !== "task" || row["split"] !== "test") continue;
        const sum = perTask.get(String(row["task"])) ?? { nats: 0, tokens: 0 };
        perTask.set(String(row["task"]), {
          nats: sum.nats + Number(row["nats"]),
          tokens: sum.tokens + Number(row["tokens"]),
        });
      }
      const means = [...perTask.values()].map(({ nats, tokens }) => nats / tokens);
      expect(means).toHaveLength(4);
      expect(trial.test?.macroPerplexity).toBeCloseTo(Math.exp(means.reduce((a, b) => a + b) / means.length), 8);
      expect(trial.test?.macroPerplexity).toBeLessThan(results.base?.test.macroPerplexity ?? 0);
    }
    const best = results.trials.reduce((a, b) => {
      const macro = (t: typeof a) => t.validation?.macroPerplexity ?? Infinity;
      return macro(b) < macro(a) ? b : a;
    });
    expect(results.best?.trialId).toBe(best.id);
  });

  it("writes adapters that PEFT names as its own, and a report that needs no network", () => {
    const sweep = join(out, sweepIn(out));
    for (const trial of resultsOf(out, sweepIn(out)).trials)
      for (const name of ["farmer", "sailor", "baker", "miner", "prior-mean"])
        for (const file of ["adapter_config.json", "adapter_model.safetensors"])
          expect(existsSync(join(sweep, "adapters", trial.id, name, file)), `${trial.id}/${name}/${file}`).toBe(true);
    const report = readFileSync(join(sweep, "report.html"), "utf8");
    expect(report).toContain("<svg");
    expect(report).not.toMatch(/(src|href)="https?:/);
  });

  it("does nothing the second time, and says so", async () => {
    const again = await run("sweep", "--spec", writeExperiment(folder, "tiny"), "--out", out);
    expect(again.exitCode).toBe(0);
    expect(again.stdout).toMatch(/was finished before: nothing/);
    expect(resultsOf(out, sweepIn(out))).toEqual(undisturbed);
  });

  it(
    "trains only what is new when a tau is added",
    async () => {
      const before = resultsOf(out, sweepIn(out));
      const more = await run(
        "sweep",
        "--spec",
        writeExperiment(folder, "more"),
        "--out",
        out,
        "--taus",
        "0,1e3,1e5,inf",
        "--json",
      );
      expect(more.exitCode).toBe(0);
      const sweep = readdirSync(out).find((name) => name.startsWith("more-")) ?? "";
      const after = resultsOf(out, sweep);
      for (const trial of before.trials) expect(after.trials.find(({ id }) => id === trial.id)).toEqual(trial);
      expect(after.trials).toHaveLength(4);
      expect(after.base).toEqual(before.base);
    },
    minutes(3),
  );

  it.each([1, 3])(
    "gives the same results when the orchestrator is killed after checkpoint %i and the trainer still lives",
    async (nth) => {
      const where = join(folder, `killed-${nth}`);
      const args = ["sweep", "--spec", writeExperiment(folder, "tiny"), "--out", where];
      let seen = 0;
      const { pid, ended } = await startUntil(args, ({ kind }) => kind === "checkpoint_saved" && ++seen === nth);
      process.kill(pid, "SIGKILL");
      await ended;
      expect((await run(...args)).exitCode).toBe(0);
      expect(resultsOf(where, sweepIn(where))).toEqual(undisturbed);
    },
    minutes(4),
  );

  it(
    "gives the same results when orchestrator and trainer are killed together",
    async () => {
      const where = join(folder, "killed-both");
      const args = ["sweep", "--spec", writeExperiment(folder, "tiny"), "--out", where];
      const { pid, ended } = await startUntil(args, ({ kind }) => kind === "checkpoint_saved");
      process.kill(pid, "SIGKILL");
      await ended;
      for (const line of await processesOf(where)) {
        try {
          process.kill(Number(line.trim().split(" ")[0]), "SIGKILL");
        } catch (error) {
          expect(error).toMatchObject({ code: "ESRCH" }); // gone by itself in between
        }
      }
      expect((await run(...args)).exitCode).toBe(0);
      expect(resultsOf(where, sweepIn(where))).toEqual(undisturbed);
    },
    minutes(5),
  );

  it(
    "gives the same results when the orchestrator is killed and the trainer has left, its lease lapsed",
    async () => {
      const spec = writeExperiment(folder, "long", { train: { ...short, maxSteps: 1_500, evaluateEvery: 150 } });
      const [whole, where] = [join(folder, "long-undisturbed"), join(folder, "lapsed")];
      expect((await run("sweep", "--spec", spec, "--out", whole)).exitCode).toBe(0);
      await killAndLetTheLeaseLapse(spec, where, 3_000);
      const [runId = ""] = readdirSync(join(where, "trainer/runs"));
      expect(readdirSync(join(where, "trainer/runs", runId))).toContain("checkpoints"); // it left before its run was done
      expect((await run("sweep", "--spec", spec, "--out", where)).exitCode).toBe(0);
      const [name = ""] = readdirSync(where).filter((entry) => entry.startsWith("long-"));
      expect(resultsOf(where, name)).toEqual(resultsOf(whole, name));
    },
    minutes(5),
  );

  it(
    "drains on Ctrl-C, ends with 130, and goes on to the same results",
    async () => {
      const where = join(folder, "interrupted");
      const args = ["sweep", "--spec", writeExperiment(folder, "tiny"), "--out", where];
      const { pid, ended } = await startUntil(args, ({ kind }) => kind === "evaluated");
      process.kill(pid, "SIGINT");
      expect(await ended).toBe(130);
      expect(await processesOf(where)).toEqual([]);
      expect((await run(...args)).exitCode).toBe(0);
      expect(resultsOf(where, sweepIn(where))).toEqual(undisturbed);
    },
    minutes(4),
  );

  it("leaves no process behind", async () => {
    expect(await processesOf(out)).toEqual([]);
  });
});

describe("bad input ends with 2, one error and nothing written", () => {
  const refuse = async (name: string, changes: Record<string, unknown>): Promise<string> => {
    const out = join(folder, `refused-${name}`);
    const { exitCode, stderr } = await run(
      "sweep",
      "--spec",
      writeExperiment(folder, `refused-${name}`, changes),
      "--out",
      out,
    );
    expect(exitCode).toBe(2);
    expect(existsSync(out) ? readdirSync(out).filter((entry) => entry.startsWith("refused-")) : []).toEqual([]);
    return stderr;
  };
  const csv = (columns: object, more: object = {}) => ({
    data: { source: "csv", path: join(folder, "speeches.csv"), columns, maxTokens: 48, ...more },
  });

  it(
    "unknown column",
    async () => {
      expect(await refuse("column", csv({ text: "body" }))).toMatch(/error data_column_unknown: .*body/);
    },
    minutes(1),
  );

  it(
    "missing file",
    async () => {
      expect(
        await refuse("file", {
          data: { source: "csv", path: "nowhere.csv", columns: { text: "text" }, maxTokens: 48 },
        }),
      ).toMatch(/error data_missing/);
    },
    minutes(1),
  );

  it(
    "too few documents",
    async () => {
      expect(await refuse("few", csv({ text: "text" }, { tasks: { top: 1, trainDocuments: [999] } }))).toMatch(
        /error data_too_few_documents: .*999/,
      );
    },
    minutes(1),
  );

  it(
    "targets that match nothing",
    async () => {
      expect(await refuse("targets", { adapter: { targets: ["nothing_like_it"] } })).toMatch(
        /error unmatched_module: .*nothing_like_it/,
      );
    },
    minutes(1),
  );

  it(
    "missing model",
    async () => {
      expect(await refuse("model", { model: { source: "path", path: join(folder, "no-model") } })).toMatch(
        /error model_missing/,
      );
    },
    minutes(1),
  );

  it("an output folder that is not ours keeps what it held", async () => {
    const out = join(folder, "not-ours");
    mkdirSync(out);
    writeFileSync(join(out, "thesis.txt"), "mine");
    const { exitCode, stderr } = await run("sweep", "--spec", writeExperiment(folder, "tiny"), "--out", out);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/error out_not_empty/);
    expect(readdirSync(out)).toEqual(["thesis.txt"]);
  });

  it("bad tau on the command line, unknown field, unknown command, unknown option", async () => {
    const spec = writeExperiment(folder, "tiny");
    for (const args of [
      ["sweep", "--spec", spec, "--taus", "0,-1"],
      ["sweep", "--spec", spec, "--set", "train.maxStep=3"],
      ["swep"],
      ["sweep", "--frobnicate"],
    ]) {
      const { exitCode, stderr } = await run(...args, ...(args.length > 2 ? ["--out", join(folder, "never")] : []));
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/error/);
    }
    expect(existsSync(join(folder, "never"))).toBe(false);
  });
});
