import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { writeExperiment } from "./experiment.js";
import { slugOf, tasks } from "./fake-run.js";
import { FakeTrainers } from "./fake-trainers.js";
import { atMost, equals, told, type Figure } from "./figures.js";
import { startBora } from "./measured-process.js";
import type { Place } from "./places.js";
import { sweepOf } from "./stream.js";

const mebibyte = 2 ** 20;
const growthMiB = 128; // an eighth of a gibibyte: what is on its way, and what a collector has not looked at yet
const lookEveryMs = 100;

/** Memory of an orchestrator that brings in a large file of a trial, from before its run began to its end. */
export async function artifact(place: Place, folder: string, { bytes }: { bytes: number }): Promise<Figure[]> {
  const [out, spec, log] = [join(folder, "out"), join(folder, "load.yaml"), join(folder, "bora.log")];
  mkdirSync(folder, { recursive: true });
  writeExperiment(spec, { name: "load", trials: 1, trialsInPack: 1 });
  const script = { events: 10, eventsPerSecond: 10, artifactBytes: bytes };
  const trainers = await FakeTrainers.start(folder, { count: 1, ...script });
  const args = ["sweep", "--spec", spec, "--out", out, "--trainers", trainers.file];
  const orchestrator = startBora(args, { log, env: place.env, quiet: true, everyMs: lookEveryMs });
  try {
    await trainers.holding;
    const sweepId = await sweepOf(place.location(out));
    trainers.begin();
    await trainers.told;
    orchestrator.look();
    const before = orchestrator.residentMiB.at(-1) ?? NaN;
    const began = performance.now();
    const code = await orchestrator.ended;
    const seconds = (performance.now() - began) / 1000;
    if (code !== 0) throw new Error(`bora sweep ended with ${String(code)}; see ${log}`);
    return [
      equals("bytes brought in", fetchedBytes(out, sweepId), bytes),
      told("memory before", `${before.toFixed(0)} MiB`),
      atMost("memory at its peak, above that", orchestrator.peakMiB - before, growthMiB, "MiB"),
      told(
        "from the trial's end to the sweep's",
        `${seconds.toFixed(1)} s (${(bytes / mebibyte / seconds).toFixed(0)} MiB/s)`,
      ),
    ];
  } finally {
    await orchestrator.end("SIGKILL");
    await trainers.end();
  }
}

/** Of the adapter file, which is checked by its sha256 on the way. */
function fetchedBytes(out: string, sweepId: string): number {
  const adapters = join(out, sweepId, "adapters");
  const [trial = ""] = readdirSync(adapters);
  return statSync(join(adapters, trial, slugOf(tasks[0] ?? ""), "adapter_model.safetensors")).size;
}
