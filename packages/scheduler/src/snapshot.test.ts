import { BoraError } from "@bora/contracts";
import { memoryStore, type Store, type StoredEvent } from "@bora/store";
import { serialize } from "node:v8";
import { beforeAll, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { evolveAll } from "./evolve.js";
import { foldSweep } from "./fold-sweep.js";
import { runSweep } from "./run-sweep.js";
import { foldVersion, readSnapshot, Snapshots } from "./snapshot.js";
import { emptySweep, type SweepState } from "./sweep-state.js";
import { anyTrial, World } from "./world.fixture.js";

const sweep = request({ taus: [0, 1000, "inf"], maxTrials: 2 });
const { sweepId } = sweep.plan;
const log: StoredEvent[] = [];
let whole: SweepState;

beforeAll(async () => {
  using world = new World({ trials: anyTrial });
  const controller = world.controller();
  whole = (await world.clock.result(runSweep(controller.deps, sweep))).state;
  for await (const event of controller.deps.store.read({ sweepId })) log.push(event);
});

async function filled(events: readonly StoredEvent[]): Promise<Store> {
  const store = memoryStore(undefined, () => events[0]?.recordedAtMs ?? 0);
  for (const event of events) await store.append([event]);
  return store;
}

const without = (store: Store) => ({ read: store.read.bind(store), snapshot: () => Promise.resolve(null) });

it("of any moment, with what was stored after it, is the fold of all events", async () => {
  const store = await filled(log);
  const expected = await foldSweep(without(store), sweepId);
  expect(expected.phase).toEqual(whole.phase);
  for (let cut = 1; cut <= log.length; cut += 1) {
    await new Snapshots(store, 1).stored(evolveAll(emptySweep(sweepId), log.slice(0, cut)), 1);
    expect((await readSnapshot(store, sweepId))?.position).toBe(cut);
    expect(await foldSweep(store, sweepId)).toEqual({ ...expected, plannedAtMs: log[0]?.recordedAtMs });
  }
});

it("is kept once so many events are stored, and at the end where there were many", async () => {
  const kept: number[] = [];
  const store = { keepSnapshot: ({ position }: { position: number }) => Promise.resolve(void kept.push(position)) };
  const snapshots = new Snapshots(store, 2_500);
  for (let position = 1_000; position <= 6_000; position += 1_000)
    await snapshots.stored({ ...emptySweep(sweepId), position }, 1_000);
  expect(kept).toEqual([3_000, 6_000]);
  await snapshots.atEnd({ ...emptySweep(sweepId), position: 6_000 });
  await snapshots.stored({ ...emptySweep(sweepId), position: 7_000 }, 1_000);
  await snapshots.atEnd({ ...emptySweep(sweepId), position: 7_000 });
  expect(kept).toEqual([3_000, 6_000, 7_000]);
});

it("that cannot be kept, or not be read, is none", async () => {
  const full = new BoraError("disk_full", "no space", { hint: "" });
  const snapshots = new Snapshots({ keepSnapshot: () => Promise.reject(full) }, 1);
  await snapshots.stored(whole, 1);
  const kept = await bytesOf(whole);
  const damaged = Uint8Array.from(kept, (byte, index) => (index === kept.length - 9 ? byte ^ 1 : byte));
  for (const body of [Buffer.from("torn"), kept.subarray(0, 100), damaged, serialize(whole)])
    expect(await readSnapshot({ snapshot: () => Promise.resolve(body) }, sweepId)).toBeNull();
  expect(await readSnapshot({ snapshot: () => Promise.resolve(kept) }, sweepId)).toEqual(whole);
});

async function bytesOf(state: SweepState): Promise<Uint8Array> {
  let kept: Uint8Array = Buffer.alloc(0);
  const keepSnapshot = async ({ body }: { body: Uint8Array }) => void (kept = body);
  await new Snapshots({ keepSnapshot }, 1).stored(state, 1);
  return kept;
}

/** Where values are in a state, with one of each kind of key that is an id. */
function shapeOf(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) return value.slice(0, 1).flatMap((one) => shapeOf(one, `${path}[]`));
  if (typeof value !== "object" || value === null) return [path];
  const keyed = /\.(trials|runs)$/.test(path)
    ? Object.entries(value)
        .slice(-1)
        .map(([, one]) => ["*", one] as const)
    : Object.entries(value);
  return keyed.flatMap(([key, one]) => shapeOf(one, `${path}.${key}`));
}

it("has a version that was raised when the shape of a state last changed", () => {
  const { plan: _, experiment: __, inspected: ___, ...state } = whole;
  expect({ foldVersion, shape: shapeOf(state).sort() }).toMatchSnapshot();
});
