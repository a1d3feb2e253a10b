import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SweepResults } from "@bora/contracts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventsOf, sweepId, trialIds, whole } from "./events.fixture.js";
import { resultsSoFar } from "./results-so-far.js";
import { statedDifferences } from "./stated-differences.js";
import { SweepIndex } from "./sweep-index.js";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-differences-"));
});
afterEach(() => rm(dir, { recursive: true }));

/** The fixture's sweep under another id, every test document at so many nats a token. */
async function sweep(id: string, natsPerToken: number): Promise<SweepResults> {
  const index = new SweepIndex(sweepId);
  for (const event of eventsOf(whole)) index.apply(event);
  const results = resultsSoFar(index);
  if (results === null) throw new Error("the fixture is planned");
  for (const trialId of trialIds) {
    const lines = results.data.tasks.flatMap(({ name }) =>
      Array.from({ length: 12 }, (_, document) => {
        const place = { task: name, split: "test", document: String(document), date: "" };
        const tokens = 10 + document;
        return JSON.stringify({ model: "task", ...place, tokens, characters: 50, nats: tokens * natsPerToken });
      }),
    );
    await mkdir(join(dir, id, "trials", trialId), { recursive: true });
    await writeFile(join(dir, id, "trials", trialId, "documents.jsonl"), `${lines.join("\n")}\n`);
  }
  return { ...results, sweepId: id };
}

test("of two sweeps are the sentences of bora compare, by their ids, and computed once", async () => {
  const all = [await sweep("first", 4), await sweep("second", 3.5)];
  const state = statedDifferences(dir);
  const words = await state(all);
  expect(words?.[0]).toMatch(
    /^second is 0\.5000 nats per token lower \(better\) than first on 24 test documents of both/,
  );
  await rm(join(dir, "first"), { recursive: true });
  expect(await state([...all])).toBe(words);
  expect(await state([...all].reverse())).toBeNull();
});

test("of one sweep are none", async () => {
  expect(await statedDifferences(dir)([await sweep("alone", 4)])).toEqual([]);
});
