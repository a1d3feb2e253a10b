import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { wire } from "@bora/contracts";
import { checkStore, openStore, type StoredEvent, type StoreLocation } from "@bora/store";
import { resultsIn, type Bench } from "./bench.js";
import { processesOf } from "./processes.js";

/** What a sweep that was disturbed and brought to its end left behind; every list should be empty. */
export interface Damage {
  changed: string[]; // result files that are not those of the undisturbed sweep
  lost: string[]; // events that a trainer wrote and the store does not hold as they were
  orphans: string[]; // processes
  leases: string[]; // runs that somebody still seems to hold, a lock, a controller's address
  store: string[]; // what the store's own check found
}

export const isWhole = (damage: Damage): boolean => Object.values(damage).every((list: string[]) => list.length === 0);

export async function inspectDamage(bench: Bench, out: string, where: StoreLocation): Promise<Damage> {
  const events = await everything(where);
  return {
    changed: differences(bench.expected, resultsIn(out)),
    lost: lostEvents(out, events),
    orphans: processesOf(out).map(({ pid, what }) => `${what} ${pid}`),
    leases: await leakedLeases(out, where, events),
    store: (await checkStore(where)).problems,
  };
}

async function everything(where: StoreLocation): Promise<StoredEvent[]> {
  await using store = await openStore({ ...where, mode: "read" });
  const events: StoredEvent[] = [];
  for await (const event of store.read({})) events.push(event);
  return events;
}

function differences(expected: ReadonlyMap<string, string>, found: ReadonlyMap<string, string>): string[] {
  const names = new Set([...expected.keys(), ...found.keys()]);
  return [...names].filter((name) => expected.get(name) !== found.get(name));
}

/** Records of an event file: u32 length, u32 crc32, Event; little-endian. */
function* recordsOf(file: string): Generator<wire.Event> {
  const bytes = readFileSync(file);
  for (let at = 0; at + 8 <= bytes.length;) {
    const end = at + 8 + bytes.readUInt32LE(at);
    if (end > bytes.length) return;
    yield wire.Event.decode(bytes.subarray(at + 8, end));
    at = end;
  }
}

/** Every event of a trainer's file must be in the store, as it is there. */
function lostEvents(out: string, events: readonly StoredEvent[]): string[] {
  const stored = new Map(events.map((event) => [`${event.runId} ${event.seq}`, event]));
  const runs = join(out, "trainer/runs");
  const files = existsSync(runs) ? readdirSync(runs).map((run) => join(runs, run, "events.bin")) : [];
  return files
    .filter((file) => existsSync(file))
    .flatMap((file) =>
      [...recordsOf(file)].flatMap((event) => {
        const body = stored.get(`${event.runId} ${event.seq}`)?.body;
        const same = body?.stream === "trainer" && isDeepStrictEqual(body.event, event);
        return same ? [] : [`event ${event.seq} of ${event.runId}`];
      }),
    );
}

async function leakedLeases(out: string, where: StoreLocation, events: readonly StoredEvent[]): Promise<string[]> {
  const last = new Map<string, string>();
  const over = new Set<string>();
  for (const { body, runId } of events) {
    if (body.stream === "trainer" && (body.event.body?.$case === "runDone" || body.event.body?.$case === "runFailed"))
      over.add(runId);
    if (body.stream !== "control") continue;
    if (body.event.kind === "lease_granted") over.delete(body.event.runId);
    if (body.event.kind === "lease_expired" || body.event.kind === "attempt_failed") over.add(body.event.runId);
    if (body.event.kind === "lease_granted") last.set(body.event.runId, body.event.trainerId);
  }
  const held = [...last].filter(([runId]) => !over.has(runId)).map(([runId, id]) => `run ${runId} by ${id}`);
  const lock = await openStore({ ...where, mode: "write" }).then(
    async (store) => {
      await store[Symbol.asyncDispose]();
      return [];
    },
    (error: unknown) => [`the store's lock: ${String(error)}`],
  );
  return [...held, ...lock, ...(existsSync(join(out, "controller.json")) ? ["controller.json"] : [])];
}
