import { BoraError } from "@bora/contracts";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { backends, type Backend } from "../test/backends.js";
import { control, everything, fetched, lease, planned, RUN, SWEEP, trained, trialDone } from "../test/events.js";
import type { NewEvent, Store, StoredEvent } from "./index.js";

/** One sweep with two runs: what a controller and two trainers write, in the order it happened. */
const history: readonly NewEvent[] = [
  planned(1),
  lease(2),
  trained(1),
  lease(3, 1, "run-2"),
  trained(1, { runId: "run-2" }),
  trained(2),
  trained(3),
  trialDone(2, "00ff", { runId: "run-2" }),
  trialDone(4, "00fe"),
  fetched(4, "00ff", "run-2"),
  control(5, { kind: "drain_requested" }),
  trained(3, { runId: "run-2" }),
  fetched(6, "00fe"),
  control(7, { kind: "sweep_ended", outcome: "done" }),
];

/** The same, but run 1 is lost after its second event and goes on under another attempt. */
const fenced: readonly NewEvent[] = [
  ...history.slice(0, 6),
  lease(4, 2),
  trained(3, { attempt: 2 }),
  trained(3), // the old trainer's, too late
  trialDone(4, "00fe", { attempt: 2 }),
  fetched(5, "00fe"),
];

type Delivery = { append: number[] } | "cut";

/** Batches of a history in any order, with repetitions and gaps, and places where the controller dies. */
const deliveriesOf = (events: readonly NewEvent[]) =>
  fc.array(
    fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ append: fc.array(fc.nat(events.length - 1), { minLength: 1, maxLength: 6 }) }),
      },
      { weight: 4, arbitrary: sliceOf(events.length) },
      { weight: 1, arbitrary: fc.constant("cut" as const) },
    ),
    { maxLength: 12 },
  );

const sliceOf = (length: number) =>
  fc
    .tuple(fc.nat(length - 1), fc.integer({ min: 1, max: 6 }))
    .map(([start, size]) => ({ append: Array.from({ length: Math.min(size, length - start) }, (_, i) => start + i) }));

/** A store on its backend, with what became of each delivery. */
async function deliver(backend: Backend, events: readonly NewEvent[], deliveries: readonly Delivery[]) {
  let store = await backend.write(() => 1_700_000_000_000);
  const outcomes: unknown[] = [];
  for (const delivery of deliveries) {
    if (delivery === "cut") {
      await store[Symbol.asyncDispose]();
      store = await backend.write(() => 1_700_000_000_000);
      continue;
    }
    const batch = delivery.append.flatMap((index) => events[index] ?? []);
    outcomes.push(await store.append(batch).catch(codeOf));
  }
  return { store, outcomes };
}

function codeOf(thrown: unknown): string {
  if (thrown instanceof BoraError) return thrown.code;
  throw thrown;
}

async function stateOf(store: Store) {
  return {
    log: await everything(store),
    sweeps: await store.sweeps(),
    lastSeqs: [await store.lastSeq(RUN), await store.lastSeq("run-2")],
    finished: [await store.finishedTrial("00ff"), await store.finishedTrial("00fe")],
  };
}

/** Each stream's events without their place among the other streams'. */
const streams = (log: StoredEvent[]) =>
  log.map(({ position: _, ...event }) => event).sort((a, b) => a.runId.localeCompare(b.runId) || a.seq - b.seq);

for (const [name, make, skip] of backends) {
  const runs = { numRuns: name === "memory" ? 300 : 25 };
  describe.skipIf(skip !== null)(`Delivery: ${name}${skip === null ? "" : ` (skipped: ${skip})`}`, () => {
    const made: Backend[] = [];
    const fresh = async (of = make): Promise<Backend> => {
      const backend = await of();
      made.push(backend);
      return backend;
    };

    afterAll(() => Promise.all(made.map((backend) => backend.remove())));

    test("redelivery, reordering and cuts change nothing", { timeout: 120_000 }, async () => {
      const straight = await deliver(await fresh(), history, [{ append: history.map((_, index) => index) }]);
      const expected = await stateOf(straight.store);
      await straight.store[Symbol.asyncDispose]();
      const property = fc.asyncProperty(deliveriesOf(history), async (deliveries) => {
        const everyOne: Delivery[] = history.map((_, index) => ({ append: [index] }));
        const { store, outcomes } = await deliver(await fresh(), history, [...deliveries, ...everyOne]);
        expect(outcomes.slice(outcomes.length - history.length)).not.toContain("event_conflict");
        const state = await stateOf(store);
        expect(streams(state.log)).toEqual(streams(expected.log));
        expect(state.log.map(({ position }) => position)).toEqual(expected.log.map(({ position }) => position));
        expect({ ...state, log: [] }).toEqual({ ...expected, log: [] });
        await store[Symbol.asyncDispose]();
      });
      await fc.assert(property, runs);
    });

    test("every delivery ends as it does in memory, where nothing is indexed", { timeout: 120_000 }, async () => {
      const memory = backends.find(([other]) => other === "memory")?.[1];
      const property = fc.asyncProperty(deliveriesOf(fenced), async (deliveries) => {
        const here = await deliver(await fresh(), fenced, deliveries);
        const there = await deliver(await fresh(memory), fenced, deliveries);
        expect(here.outcomes).toEqual(there.outcomes);
        expect(await stateOf(here.store)).toEqual(await stateOf(there.store));
        await here.store[Symbol.asyncDispose]();
      });
      await fc.assert(property, runs);
    });
  });
}

test("the histories are what happens when nothing goes wrong", async () => {
  const memory = backends.find(([name]) => name === "memory")?.[1];
  for (const [events, lost] of [
    [history, 0],
    [fenced, 1],
  ] as const) {
    const { store, outcomes } = await deliver(
      (await memory?.()) as Backend,
      events,
      events.map((_, i) => ({ append: [i] })),
    );
    expect(outcomes.filter((outcome) => outcome === "stale_attempt")).toHaveLength(lost);
    expect(await everything(store)).toHaveLength(events.length - lost);
    expect(await store.sweeps()).toMatchObject([{ sweepId: SWEEP }]);
  }
});
