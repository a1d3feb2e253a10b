import { readExperiment } from "@bora/contracts";
import { openLab } from "@bora/sdk";
import { connectTrainer } from "@bora/trainer-client";
import { z } from "zod";
import { Sky, type Weather } from "./weather.js";

// `controller.ts JSON`: what `bora sweep --json` does, with another lease or with bad weather before its trainers.
const Asked = z.object({
  spec: z.string(),
  out: z.string(),
  leaseMs: z.number().default(60_000),
  seed: z.number().default(1),
  weather: z.custom<Weather>().default({}),
});
const { spec, out, leaseMs, seed, weather } = Asked.parse(JSON.parse(process.argv[2] ?? ""));
const sky = new Sky(weather, seed);
await using lab = await openLab({
  dir: out,
  leaseMs,
  connectTrainer: async (address, signal) =>
    connectTrainer({ ...address, route: (target) => sky.route(target) }, signal),
});
const sweep = await lab.sweep(await readExperiment(spec));
for await (const { event } of sweep.events()) console.log(JSON.stringify({ event: { kind: event.kind } }));
const { outcome } = await sweep.outcome();
console.log(JSON.stringify({ event: { kind: "weather_dropped", frames: await sky.dropped() } }));
process.exit(outcome === "done" ? 0 : 3);
