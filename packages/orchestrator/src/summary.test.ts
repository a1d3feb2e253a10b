import type { SplitResult, SweepResults, TrialResult } from "@bora/contracts";
import type { SweepOutcome } from "@bora/sdk";
import { expect, test } from "vitest";
import { checkNode } from "./commands/doctor.js";
import { resultsText, showOutcome } from "./summary.js";
import { table } from "./table.js";
import { recordingTerminal } from "./terminal.fixture.js";

const names = ["Hamlet", "Rosalind"];

const split = (natsPerToken: number): SplitResult => ({
  ...{ macroPerplexity: Math.exp(natsPerToken), microPerplexity: Math.exp(natsPerToken) },
  ...{ nats: 200 * natsPerToken, tokens: 200 },
  tasks: names.map((name) => ({ name, nats: 100 * natsPerToken, tokens: 100, perplexity: Math.exp(natsPerToken) })),
});
const both = (natsPerToken: number) => ({ validation: split(natsPerToken), test: split(natsPerToken) });

const trial = (tau: number, natsPerToken: number): TrialResult => ({
  ...{
    id: `t${tau}`,
    tau,
    seed: 0,
    state: "done",
    steps: 75,
    bestStep: 50,
    ended: "validation",
    failure: null,
    float32Check: null,
    ...{ learning: { steps: [], natsPerToken: [] }, taskBestSteps: [], oneStepCost: null, distances: null },
  },
  ...{ ...both(natsPerToken), priorMean: both(natsPerToken) },
});

const resultsWith = (trials: TrialResult[], tau: number): SweepResults => ({
  ...{ schemaVersion: 1, sweepId: "tiny-0123abcd", experiment: {}, versions: {}, execution: null, warnings: [] },
  ...{ model: { name: "tiny", hash: "h" }, base: both(5), trials },
  data: {
    hash: "h",
    tasks: names.map((name) => ({
      ...{ name, slug: name.toLowerCase(), cutDocuments: 0 },
      ...{ documents: { train: 60, validation: 20, test: 20 }, scoredTokens: { train: 1, validation: 1, test: 1 } },
    })),
  },
  best: { trialId: `t${tau}`, tau, against: [] },
});

test("the end of a sweep: a row a tau, the winner, where sharing pays", () => {
  const results = resultsWith([trial(0, 4.7), trial(1000, 4.6), trial(Infinity, 4.65)], 1000);
  expect(`\n${resultsText(results)}\n`).toMatchInlineSnapshot(`
    "
    test perplexity for each tau (* best by validation)
       tau    macro    micro   vs tau=0   vs inf   best step   ended by
         0   109.95   109.95      0.0 %   +5.1 %          50   validation @75
     * 1e3    99.48    99.48     -9.5 %   -4.9 %          50   validation @75
       inf   104.58   104.58     -4.9 %    0.0 %          50   validation @75
    base model: macro 148.41, micro 148.41

    tau = 1e3 has the lowest perplexity on validation; on test its macro perplexity is 99.48.

    where sharing pays: test perplexity for each task
     task       train     base    tau=0   tau=1e3   tau=inf   best vs 0   best vs inf
     Hamlet        60   148.41   109.95     99.48    104.58      -9.5 %        -4.9 %
     Rosalind      60   148.41   109.95     99.48    104.58      -9.5 %        -4.9 %
    "
  `);
});

test("the columns of an end that is not in the grid are empty", () => {
  const lines = resultsText(resultsWith([trial(10, 4.7), trial(1000, 4.6)], 1000)).split("\n");
  expect(lines.filter((line) => line.includes("validation @75")).join("\n")).not.toContain("%");
});

test("a finished experiment says that nothing was trained", () => {
  const terminal = recordingTerminal();
  const results = resultsWith([trial(0, 4.7)], 0);
  const outcome: SweepOutcome = {
    ...{ sweepId: "tiny-0123abcd", outcome: "done", alreadyDone: true, reason: null, folder: "/runs/tiny", results },
  };
  showOutcome(outcome, terminal, null);
  expect(terminal.outLines[0]).toBe("tiny-0123abcd was finished before: nothing was trained");
  expect(terminal.outLines.join("\n")).toMatch(/runs\/tiny\/report\.html/);
});

test("with --json the last line says how it ended, with infinity in words", () => {
  const terminal = recordingTerminal();
  const results = resultsWith([trial(Infinity, 4.7)], Infinity);
  const outcome: SweepOutcome = {
    ...{ sweepId: "tiny-0123abcd", outcome: "failed", alreadyDone: false, folder: "/runs/tiny", results },
    reason: { code: "diverged", message: "step 6", hint: "lower the learning rate" },
  };
  showOutcome(outcome, terminal, "trial_failed");
  expect(terminal.outLines).toHaveLength(1);
  expect(JSON.parse(terminal.outLines[0] ?? "")).toMatchObject({
    ended: { outcome: "failed", reason: { code: "diverged" }, results: { best: { tau: "inf" } } },
    exit: "trial_failed",
    exitCode: 1,
  });
});

test("a table is aligned and has no trailing spaces", () => {
  expect(
    table(
      ["tau", "macro"],
      [
        ["0", "104.20"],
        ["inf", "9.10"],
      ],
      "rl",
    ),
  ).toBe(" tau   macro\n   0   104.20\n inf   9.10");
});

test.each([
  ["20.19.0", "ok"],
  ["20.18.3", "problem"],
  ["21.7.0", "problem"],
  ["22.11.0", "problem"],
  ["22.12.0", "ok"],
  ["24.0.0", "ok"],
])("doctor: Node %s is %s", (version, verdict) => {
  expect(checkNode(version).verdict).toBe(verdict);
});
