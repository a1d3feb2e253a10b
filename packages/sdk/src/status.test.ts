import { controlStream, type ControlEvent } from "@bora/contracts";
import { foldSweep } from "@bora/scheduler";
import { memoryStore, type EventQuery, type NewEvent, type Store } from "@bora/store";
import { expect, test } from "vitest";
import { StatusBook } from "./status.js";

const inspected = {
  ...{ tasks: [], dataHash: "d", modelHash: "m", modelName: "tiny", baseParameters: 1, parametersPerRow: 1 },
  ...{ adaptedModules: 1, files: [], warnings: [], bytesPerRow: 1, baseBytes: 1 },
  ...{ trainTokensPerSecond: 1, evaluateTokensPerSecond: 1 },
} as never;

const control = (sweepId: string, seq: number, event: ControlEvent): NewEvent => ({
  ...{ sweepId, runId: controlStream(sweepId), seq, attempt: 0, body: { stream: "control", event } },
});

const planned = (sweepId: string): NewEvent =>
  control(sweepId, 1, {
    kind: "sweep_planned",
    plan: { sweepId, name: "tiny", trials: [{ id: `${sweepId}-a`, tau: 1, seed: 0 }], packs: [] },
    ...{ experiment: {}, inspected },
  });

/** A store that counts how many of a sweep's events were read. */
function counting(store: Store): { store: Store; reads: Map<string, number> } {
  const reads = new Map<string, number>();
  async function* read(query: EventQuery) {
    for await (const event of store.read(query)) {
      if (query.newest === undefined) reads.set(event.sweepId, (reads.get(event.sweepId) ?? 0) + 1);
      yield event;
    }
  }
  return { store: Object.assign(Object.create(store) as Store, { read }), reads };
}

test("a sweep is folded once, and again when something was stored of it; the running one never is", async () => {
  const { store, reads } = counting(memoryStore());
  await store.append([planned("old"), planned("running")]);
  const book = new StatusBook();
  const running = { sweepId: "running", state: await foldSweep(store, "running") };
  reads.clear();
  const first = await book.statuses(store, running, null);
  expect(first.map(({ sweepId, live, trials }) => [sweepId, live, trials])).toEqual([
    ["running", true, { planned: 1 }],
    ["old", false, { planned: 1 }],
  ]);
  expect(await book.statuses(store, running, null)).toEqual(first);
  expect([...reads]).toEqual([["old", 1]]);
  await store.append([control("old", 2, { kind: "trials_cancelled", trialIds: ["old-a"] })]);
  expect((await book.statuses(store, running, null))[1]?.trials).toEqual({ cancelled: 1 });
  expect([...reads]).toEqual([["old", 3]]);
});

test("the sweep in hand is folded while its own process has stored nothing of it", async () => {
  const store = memoryStore();
  await store.append([planned("running")]);
  const [status] = await new StatusBook().statuses(store, { sweepId: "running", state: null }, null);
  expect(status).toMatchObject({ live: true, phase: "running", trials: { planned: 1 } });
});

test("the sweep that another process is at work on runs, until it has ended", async () => {
  const store = memoryStore();
  await store.append([planned("old"), planned("theirs")]);
  const book = new StatusBook();
  const live = async (elsewhere: string | null) =>
    (await book.statuses(store, null, elsewhere)).map(({ sweepId, live: at }) => [sweepId, at]);
  expect(await live(null)).toEqual([
    ["theirs", false],
    ["old", false],
  ]);
  expect(await live("theirs")).toEqual([
    ["theirs", true],
    ["old", false],
  ]);
  await store.append([control("theirs", 2, { kind: "sweep_ended", outcome: "cancelled" })]);
  expect((await live("theirs"))[0]).toEqual(["theirs", false]);
});
