import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { artifact } from "./load/artifact.js";
import type { Figure } from "./load/figures.js";
import { openPlace } from "./load/places.js";
import { stream } from "./load/stream.js";

/** The suite's short form: whether everything arrives, once and in order. How fast is measured by hand: test:load. */
async function counted(measure: (folder: string) => Promise<Figure[]>): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "bora-load-"));
  try {
    return (await measure(folder)).filter(({ what }) => /^(events|runs|problems|states|trials|bytes)/.test(what));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("what trainers tell through one orchestrator is stored once, in order, and is what its state is made of", async () => {
  await using place = await openPlace("SQLite");
  const small = { trials: 20, trainers: 2, rate: 1_000, seconds: 3 };
  const figures = await counted((folder) => stream(place, folder, small));
  expect(figures.filter(({ holds }) => !holds)).toEqual([]);
  expect(figures.map(({ what }) => what)).toContain("events stored");
}, 60_000);

test("a file that is larger than a message arrives whole", async () => {
  await using place = await openPlace("SQLite");
  const figures = await counted((folder) => artifact(place, folder, { bytes: 2 ** 24 + 1 }));
  expect(figures).toMatchObject([
    { what: "bytes brought in", measured: (2 ** 24 + 1).toLocaleString("en-US"), holds: true },
  ]);
}, 60_000);
