// What `bora serve` and a controller answer, over a folder with one sweep that has ended and trainers in this process.
// Prints where it is; a line on its input asks for another login link, and how much memory is in use.
import { createInterface } from "node:readline";
import { rm } from "node:fs/promises";
import { parseExperiment, wire } from "@bora/contracts";
import { serveController } from "@bora/dashboard";
import { openLog } from "@bora/sdk/controller";
import type { TextTrainer } from "@bora/trainer-client";
import { liveSweepsOf } from "../../packages/dashboard/src/web/live-sweeps.js";
import { servePage } from "../../packages/dashboard/src/web/page-server.js";
import { perplexityBands } from "../../packages/dashboard/src/web/perplexity-bands.js";
import { statedDifferences } from "../../packages/dashboard/src/web/stated-differences.js";
import { SweepsHere } from "../../packages/dashboard/src/web/sweeps-here.js";
import { FolderLab } from "../../packages/sdk/src/folder-lab.js";
import { LocalLab } from "../../packages/sdk/src/local-lab.js";
import { makeFolder, partsOf } from "../../packages/sdk/src/temporary-lab.fixture.js";

const folder = await makeFolder();
const { out: dir } = folder;

/** Continues every prompt with two words. */
const texts: TextTrainer = {
  async *generate({ adapters }) {
    for (const adapter of adapters.keys())
      for (const finish of [wire.Finish.UNSPECIFIED, wire.Finish.LENGTH]) {
        await Promise.resolve();
        yield { adapter, text: "word ", token: 1, finish };
      }
  },
  merge: () => Promise.resolve([]),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

const openLab = (): FolderLab => {
  const parts = partsOf(dir, folder.scripted());
  return new FolderLab(dir, new LocalLab({ ...parts, connectTextTrainer: () => Promise.resolve(texts) }));
};

const swept = openLab();
const experiment = {
  ...{ name: "tiny", model: { source: "path", path: "/model" }, data: { source: "shakespeare", tasks: { all: true } } },
  ...{ adapter: { targets: ["q_proj"] }, prior: { taus: [0, 1, "inf"] } },
};
const { sweepId } = await (await swept.sweep(parseExperiment(experiment))).outcome();
await swept[Symbol.asyncDispose]();

const lab = openLab();
const now = () => performance.now() * 10_000; // a minute in which no further login is tried is over at once
const here = new SweepsHere({
  openLab: () => Promise.resolve(openLab()),
  serve: (own) => serveController(own, { dir }),
});
const log = openLog({ dir });
const page = await servePage({
  ...{ dir, log, lab, now, live: liveSweepsOf(dir, log, now) },
  ...{ perplexityOf: perplexityBands(dir), differencesOf: statedDifferences(dir) },
  lookAtTrainers: () => Promise.resolve([]),
  send: (id, command) => here.send(id, command),
  generate: (request, options) => lab.generate(request, options),
});
const host = openLab();
const controller = await serveController(host, { dir: folder.dir, planningWaitMs: 200 });

const say = (link: string): void => {
  const { url, token } = controller.file;
  globalThis.gc?.();
  const residentMiB = process.memoryUsage.rss() / 2 ** 20;
  console.log(JSON.stringify({ residentMiB, sweepId, page: page.url, link, controller: url, token }));
};
say(page.newLink());
for await (const _ of createInterface({ input: process.stdin })) say(page.newLink());
await page[Symbol.asyncDispose]();
await controller[Symbol.asyncDispose]();
await rm(folder.dir, { recursive: true, force: true });
process.exitCode = 0;
