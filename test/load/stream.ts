import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openStore, type StoreLocation } from "@bora/store";
import { checkSweep } from "./checks.js";
import { writeExperiment } from "./experiment.js";
import { FakeTrainers, type Told } from "./fake-trainers.js";
import { atMost, growth, quantile, told as tell, type Figure } from "./figures.js";
import { startBora, type MeasuredProcess } from "./measured-process.js";
import { PageClient } from "./page-client.js";
import type { Place } from "./places.js";

export interface StreamOptions {
  trials: number;
  trainers: number;
  rate: number; // events a second, over all trainers
  seconds: number;
}

const queries = {
  "list of sweeps": () => "/api/sweeps",
  "view of the sweep": (sweepId: string) => `/api/sweeps/${sweepId}`,
  "its curves": (sweepId: string) => `/api/sweeps/${sweepId}/figures`,
  "its newest events": (sweepId: string) => `/api/sweeps/${sweepId}/events?limit=300`,
};
type Waits = Record<keyof typeof queries, number[]>;

const bounds = { queryMs: 100, growthMiB: 32, lagSeconds: 2 };
const askEveryMs = 1_000;

/** Asks for everything that an open page asks for, again and again, and keeps the times. */
async function askAlways(page: PageClient, sweepId: string, signal: AbortSignal): Promise<Waits> {
  const waits: Waits = { "list of sweeps": [], "view of the sweep": [], "its curves": [], "its newest events": [] };
  const names = Object.keys(queries) as (keyof typeof queries)[];
  while (!signal.aborted)
    for (const name of names) {
      waits[name].push(await page.ask(queries[name](sweepId)));
      await sleep(askEveryMs / names.length, undefined, { signal }).catch(() => undefined);
    }
  return waits;
}

/** Seconds from now until all that was told is stored. */
async function untilStored(location: StoreLocation, told: readonly Told[]): Promise<number> {
  await using store = await openStore({ ...location, mode: "read" });
  const began = performance.now();
  for (const { runId, events } of told) while ((await store.lastSeq(runId)) < events) await sleep(20);
  return (performance.now() - began) / 1000;
}

/** The sweep that an orchestrator has begun. */
export async function sweepOf(location: StoreLocation): Promise<string> {
  for (;;) {
    await using store = await openStore({ ...location, mode: "read" });
    const [sweep] = await store.sweeps();
    if (sweep !== undefined) return sweep.sweepId;
    await sleep(50);
  }
}

interface Observed {
  told: Told[];
  waits: Waits;
  resident: number[]; // MiB, of the orchestrator, a second apart
  lagSeconds: number;
  cpu: { orchestrator: number; page: number; trainers: number };
}

/** The time in which trainers tell: everything is looked at meanwhile. */
async function observe({
  location,
  orchestrator,
  trainers,
  page,
  sweepId,
}: {
  location: StoreLocation;
  orchestrator: MeasuredProcess;
  trainers: FakeTrainers;
  page: PageClient;
  sweepId: string;
}): Promise<Observed> {
  const over = new AbortController();
  await page.ask(queries["list of sweeps"]()); // as a person has it open before
  void page.follow(sweepId, over.signal);
  const before = {
    orchestrator: orchestrator.cpuSeconds,
    page: page.serving.cpuSeconds,
    trainers: trainers.cpuSeconds,
  };
  const first = orchestrator.residentMiB.length;
  trainers.begin();
  const asking = askAlways(page, sweepId, over.signal);
  const told = await trainers.told;
  const lagSeconds = await untilStored(location, told);
  const resident = orchestrator.residentMiB.slice(first);
  over.abort();
  const cpu = {
    orchestrator: orchestrator.cpuSeconds - before.orchestrator,
    page: page.serving.cpuSeconds - before.page,
    trainers: trainers.cpuSeconds - before.trainers,
  };
  return { told, waits: await asking, resident, lagSeconds, cpu };
}

function figuresOf({ told, waits, resident, lagSeconds, cpu }: Observed): Figure[] {
  const sent = told.reduce((sum, { events }) => sum + events, 0);
  const seconds = Math.max(...told.map((one) => one.seconds));
  const ms = (values: number[], share: number) => quantile(values, share).toFixed(0);
  const share = (used: number) => `${((100 * used) / seconds).toFixed(0)} %`;
  return [
    tell("events a second, over the whole time", (sent / seconds).toFixed(0)),
    atMost("stored after the last was told", lagSeconds, bounds.lagSeconds, "s"),
    tell(
      "orchestrator's memory, smallest and largest",
      `${Math.min(...resident).toFixed(0)}, ${Math.max(...resident).toFixed(0)} MiB`,
    ),
    ...(resident.length < 3
      ? []
      : [atMost("orchestrator's memory, growth", growth(resident), bounds.growthMiB, "MiB")]),
    tell("of a core: orchestrator, page, trainers", Object.values(cpu).map(share).join(", ")),
    ...Object.entries(waits).flatMap(([name, values]) => [
      tell(`${name}, p50`, `${ms(values, 0.5)} ms`),
      atMost(`${name}, p95`, quantile(values, 0.95), bounds.queryMs, "ms"),
    ]),
  ];
}

/** Many trials on many trainers that tell fast, through `bora sweep`, with `bora serve` open beside it. */
export async function stream(place: Place, folder: string, options: StreamOptions): Promise<Figure[]> {
  const { trials, trainers: count, rate, seconds } = options;
  const [out, spec, log] = [join(folder, "out"), join(folder, "load.yaml"), join(folder, "bora.log")];
  mkdirSync(folder, { recursive: true });
  writeExperiment(spec, { name: "load", trials, trialsInPack: Math.ceil(trials / count) });
  const each = { events: Math.round((rate * seconds) / count), eventsPerSecond: rate / count };
  const trainers = await FakeTrainers.start(folder, { count, ...each });
  const args = ["sweep", "--spec", spec, "--out", out, "--trainers", trainers.file];
  const orchestrator = startBora(args, { log, env: place.env, quiet: true });
  const leftEarly = orchestrator.ended.then((code) => {
    throw new Error(`bora sweep ended with ${String(code)}; see ${log}`);
  });
  leftEarly.catch(() => undefined); // unless it is waited for
  try {
    await Promise.race([trainers.holding, leftEarly]);
    const page = await PageClient.open(out, { log: join(folder, "serve.log"), env: place.env });
    const location = place.location(out);
    const sweepId = await sweepOf(location);
    const observed = await observe({ location, orchestrator, trainers, page, sweepId }).finally(() => page.end());
    const code = await orchestrator.ended;
    if (code !== 0) throw new Error(`bora sweep ended with ${String(code)}; see ${log}`);
    const checked = await checkSweep(location, { out, sweepId, trials, told: observed.told });
    return [...checked, ...figuresOf(observed)];
  } finally {
    await orchestrator.end("SIGKILL");
    await trainers.end();
  }
}
