import { join } from "node:path";
import { openStore, type StoreLocation } from "@bora/store";
import { setTimeout as sleep } from "node:timers/promises";
import { FakeTrainers } from "./fake-trainers.js";
import { atMost, told, type Figure } from "./figures.js";
import { writeLargeLog } from "./large-log.js";
import { startBora } from "./measured-process.js";
import { PageClient } from "./page-client.js";
import type { Place } from "./places.js";

const mostSeconds = 3;
const times = 3; // each: the slowest counts

async function slowest(measure: () => Promise<number>): Promise<number> {
  let most = 0;
  for (let time = 0; time < times; time += 1) most = Math.max(most, await measure());
  return most;
}

const since = (beganMs: number): number => (performance.now() - beganMs) / 1000;

interface Started {
  place: Place;
  folder: string;
  out: string;
}

/** `bora status`, to its end. */
async function statusSeconds({ place, folder, out }: Started): Promise<number> {
  const began = performance.now();
  const process = startBora(["status", "--out", out], { log: join(folder, "status.log"), env: place.env, quiet: true });
  const code = await process.ended;
  if (code !== 0) throw new Error(`bora status ended with ${String(code)}; see ${folder}`);
  return since(began);
}

/** `bora serve`, to its first answer to a path. */
async function pageSeconds({ place, folder, out }: Started, path: string): Promise<number> {
  const began = performance.now();
  const page = await PageClient.open(out, { log: join(folder, "serve.log"), env: place.env });
  await page.ask(path);
  const seconds = since(began);
  await page.end();
  return seconds;
}

async function lastPosition(location: StoreLocation, sweepId: string): Promise<number> {
  await using store = await openStore({ ...location, mode: "read" });
  let position = 0;
  for await (const event of store.read({ sweepId, newest: 1 })) position = event.position;
  return position;
}

/** `bora resume`, to the first decision that the new controller has stored. */
async function resumeSeconds({ place, folder, out }: Started, sweepId: string): Promise<number> {
  const trainers = await FakeTrainers.start(folder, { count: 1, events: 1, eventsPerSecond: 1 });
  const before = await lastPosition(place.location(out), sweepId);
  const args = ["resume", sweepId, "--out", out, "--trainers", trainers.file];
  const began = performance.now();
  const process = startBora(args, { log: join(folder, "resume.log"), env: place.env, quiet: true });
  let seconds = NaN;
  const left = process.ended.then((code) => {
    throw new Error(`bora resume ended with ${String(code)}; see ${folder}`);
  });
  left.catch(() => undefined); // it is killed in the end
  const stored = async () => {
    while ((await lastPosition(place.location(out), sweepId)) === before) await sleep(20);
    seconds = since(began);
  };
  await Promise.race([stored(), left]).finally(() => process.end("SIGKILL"));
  await trainers.end();
  return seconds;
}

/** How long it takes to begin where many events are. */
export async function startup(place: Place, folder: string, { events }: { events: number }): Promise<Figure[]> {
  const out = join(folder, "out");
  const began = performance.now();
  const sweepId = await writeLargeLog(place.location(out), out, events);
  const made = since(began);
  const started = { place, folder, out };
  const most = (what: string, seconds: number) => atMost(what, seconds, mostSeconds, "s");
  return [
    told("events, in 4 sweeps of 1,000 trials", (await countEvents(place.location(out))).toLocaleString("en-US")),
    told("made in", `${made.toFixed(0)} s`),
    most("`bora status`", await slowest(() => statusSeconds(started))),
    most("`bora serve`, to the list of sweeps", await slowest(() => pageSeconds(started, "/api/sweeps"))),
    most("`bora serve`, to the sweep left off", await slowest(() => pageSeconds(started, `/api/sweeps/${sweepId}`))),
    most("`bora resume`, to its first decision", await slowest(() => resumeSeconds(started, sweepId))),
  ];
}

/** Positions have no gaps: the last one counts them. */
async function countEvents(location: StoreLocation): Promise<number> {
  await using store = await openStore({ ...location, mode: "read" });
  let position = 0;
  for await (const event of store.read({ newest: 1 })) position = event.position;
  return position;
}
