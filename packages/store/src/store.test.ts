import { hostname } from "node:os";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { backends, type Backend } from "../test/backends.js";
import { begun, control, everything, fetched, lease, planned, RUN, SWEEP, trained, trialDone } from "../test/events.js";
import type { Store } from "./index.js";

for (const [name, make, skip] of backends) {
  describe.skipIf(skip !== null)(`Store: ${name}${skip === null ? "" : ` (skipped: ${skip})`}`, () => {
    let backend: Backend;
    let store: Store;
    let nowMs: number;

    beforeEach(async () => {
      nowMs = 1_700_000_000_000;
      backend = await make();
      store = await backend.write(() => nowMs);
    });

    afterEach(async () => {
      await store[Symbol.asyncDispose]();
      await backend.remove();
    });

    const reopened = async (): Promise<Store> => {
      await store[Symbol.asyncDispose]();
      return (store = await backend.write(() => nowMs));
    };

    test("gives back what was appended, in commit order, also after reopening", async () => {
      const events = [...begun(), trained(1), control(3, { kind: "resumed" }), trained(2)];
      const stored = await store.append(events.slice(0, 2));
      nowMs += 5;
      stored.push(...(await store.append(events.slice(2))));
      expect(stored.map(({ runId, seq }) => [runId, seq])).toEqual(events.map(({ runId, seq }) => [runId, seq]));
      expect(stored.slice(1).map(({ body }) => body)).toEqual(events.slice(1).map(({ body }) => body));
      expect(stored.map(({ position }) => position)).toEqual([1, 2, 3, 4, 5]);
      expect(stored.map(({ recordedAtMs }) => recordedAtMs - 1_700_000_000_000)).toEqual([0, 0, 5, 5, 5]);
      expect(await everything(store)).toEqual(stored);
      expect(await everything(await reopened())).toEqual(stored);
    });

    test("tells a reader who writes it, and of which sweep last", async () => {
      await using reader = await backend.read();
      const holder = { pid: process.pid, host: hostname(), sinceMs: nowMs };
      expect(await reader.writer()).toEqual({ holder, sweepId: null });
      await store.append([...begun(), planned(1, "other")]);
      expect(await reader.writer()).toEqual({ holder, sweepId: "other" });
      expect(await store.writer()).toEqual({ holder, sweepId: "other" });
      await store[Symbol.asyncDispose]();
      expect(await reader.writer()).toBeNull();
      await reopened();
      expect(await reader.writer()).toMatchObject({ sweepId: "other" });
    });

    test("keeps infinite tau and 64-bit counts", async () => {
      await store.append([...begun(), trained(1)]);
      const [plan, , steps] = await everything(store);
      expect(plan?.body.stream === "control" && plan.body.event).toMatchObject({
        plan: { trials: [{ tau: Infinity }] },
      });
      expect(steps?.body).toMatchObject({ event: { body: { stepsDone: { tokens: 576n } } } });
    });

    test("reads one sweep, one run, and what came after a position", async () => {
      await store.append([...begun(), trained(1), planned(1, "other"), trained(2)]);
      const positions = async (query: Parameters<Store["read"]>[0]) => {
        const found: number[] = [];
        for await (const { position } of store.read(query)) found.push(position);
        return found;
      };
      expect(await positions({ sweepId: SWEEP })).toEqual([1, 2, 3, 5]);
      expect(await positions({ sweepId: "other" })).toEqual([4]);
      expect(await positions({ runId: RUN })).toEqual([3, 5]);
      expect(await positions({ runId: RUN, afterPosition: 3 })).toEqual([5]);
      expect(await positions({ afterPosition: 5 })).toEqual([]);
    });

    test("reads a log longer than a page whole", async () => {
      await store.append([...begun(), ...Array.from({ length: 2_100 }, (_, i) => trained(i + 1))]);
      expect((await everything(store)).map(({ position }) => position)).toEqual(
        Array.from({ length: 2_102 }, (_, i) => i + 1),
      );
      expect(await store.lastSeq(RUN)).toBe(2_100);
    });

    test("reads a long log thinned by its training windows alone, the same ones every time", async () => {
      await store.append([
        ...begun(),
        ...Array.from({ length: 100 }, (_, i) => trained(i + 1)),
        trialDone(101, "trial-a"),
      ]);
      const seqs = async (aboutAtMost: number) => {
        const found: number[] = [];
        for await (const { runId, seq } of store.read({ sweepId: SWEEP, aboutAtMost }))
          if (runId === RUN) found.push(seq);
        return found;
      };
      expect(await seqs(103)).toHaveLength(101);
      expect(await seqs(26)).toEqual([...Array.from({ length: 25 }, (_, i) => 4 * (i + 1)), 101]);
      expect(await seqs(6)).toEqual([32, 64, 96, 101]); // every 18th, of those that are indexed
      expect(await seqs(1)).toEqual([101]);
    });

    test("reads the newest events alone, in commit order", async () => {
      const positions = async (query: Parameters<Store["read"]>[0]) => {
        const found: number[] = [];
        for await (const { position } of store.read(query)) found.push(position);
        return found;
      };
      expect(await positions({ sweepId: SWEEP, newest: 1 })).toEqual([]);
      await store.append([...begun(), trained(1), planned(1, "other"), trained(2)]);
      expect(await positions({ sweepId: SWEEP, newest: 2 })).toEqual([3, 5]);
      expect(await positions({ sweepId: SWEEP, newest: 2, afterPosition: 3 })).toEqual([5]);
      expect(await positions({ newest: 100 })).toEqual([1, 2, 3, 4, 5]);
    });

    test("keeps one snapshot a sweep, of one version, over reopening", async () => {
      const snapshot = (position: number, text: string, version = 1) => ({
        ...{ sweepId: SWEEP, position, version, body: Buffer.from(text) },
      });
      const kept = async (version: number, sweepId = SWEEP) => {
        const body = await store.snapshot(sweepId, version);
        return body && Buffer.from(body).toString();
      };
      expect(await kept(1)).toBeNull();
      await store.append(begun());
      await store.keepSnapshot(snapshot(1, "first"));
      await store.keepSnapshot(snapshot(2, "second"));
      await reopened();
      expect([await kept(1), await kept(2), await kept(1, "other")]).toEqual(["second", null, null]);
      await store.keepSnapshot(snapshot(2, "of a newer version", 2));
      expect([await kept(1), await kept(2)]).toEqual([null, "of a newer version"]);
      expect(await everything(store)).toHaveLength(2);
    });

    test("an event delivered again with equal content changes nothing", async () => {
      await store.append([...begun(), trained(1), trained(2)]);
      expect(await store.append([trained(1), trained(2), trained(2), lease(2)])).toEqual([]);
      expect(await store.append([trained(2), trained(3)])).toMatchObject([{ seq: 3, position: 5 }]);
      expect(await everything(store)).toHaveLength(5);
    });

    test("a protobuf map in another order is equal content", async () => {
      const started = (versions: Record<string, string>) =>
        trained(1, {
          body: {
            $case: "runStarted",
            runStarted: {
              ...{ execution: undefined, step: 0, rows: 6, parametersPerRow: 2, stepsPerEpoch: 1, versions },
              prefixCache: "",
            },
          },
        });
      await store.append([...begun(), started({ bora: "0.1.0", torch: "2.13.0" })]);
      expect(await store.append([started({ torch: "2.13.0", bora: "0.1.0" })])).toEqual([]);
      await expect(store.append([started({ torch: "2.12.0", bora: "0.1.0" })])).rejects.toMatchObject({
        code: "event_conflict",
      });
    });

    test.each([
      ["other content under a known seq", [trained(1, { body: { $case: "runDone", runDone: done } })]],
      ["other content within one batch", [trained(2), trained(2, { body: { $case: "runDone", runDone: done } })]],
      ["a gap", [trained(3)]],
      ["a gap in the control stream", [control(5, { kind: "resumed" })]],
      ["seq 0", [trained(0)]],
      ["an attempt that was never granted", [trained(2, { attempt: 2 })]],
      ["a run without a lease", [trained(1, { runId: "unknown" })]],
      ["another sweep's name on the run", [trained(2, { sweepId: "other" })]],
      ["a lease on another sweep's run", [lease(1, 2, RUN, "other")]],
      ["a body of another run", [{ ...trained(2), runId: "unknown" }]],
      ["a control event under a run's id", [{ ...control(2, { kind: "resumed" }), runId: RUN }]],
    ])("refuses %s as event_conflict and stores nothing of the batch", async (_, events) => {
      await store.append([...begun(), trained(1)]);
      const before = await everything(store);
      await expect(store.append([control(3, { kind: "drain_requested" }), ...events])).rejects.toMatchObject({
        code: "event_conflict",
        hint: expect.stringMatching(/./),
      });
      expect(await everything(store)).toEqual(before);
      expect(await store.append([trained(2)])).toHaveLength(1);
    });

    test("fences an older attempt, but knows what it delivered before", async () => {
      await store.append([...begun(), trained(1), lease(3, 2)]);
      await expect(store.append([trained(2)])).rejects.toMatchObject({ code: "stale_attempt" });
      expect(await store.append([trained(1)])).toEqual([]);
      await store.append([trained(2, { attempt: 2 })]);
      await expect(store.append([trained(2)])).rejects.toMatchObject({ code: "stale_attempt" });
      await expect(store.append([lease(4, 1)])).rejects.toMatchObject({ code: "event_conflict" });
      expect(await store.append([lease(4, 2)])).toHaveLength(1);
    });

    test("knows the last seq of a run, 0 before its first event", async () => {
      expect(await store.lastSeq(RUN)).toBe(0);
      await store.append(begun());
      expect(await store.lastSeq(RUN)).toBe(0);
      await store.append([trained(1), trained(2)]);
      expect(await (await reopened()).lastSeq(RUN)).toBe(2);
    });

    test("lists sweeps, newest first, by their first plan", async () => {
      await store.append([planned(1, "first", "a")]);
      nowMs += 1_000;
      await store.append([planned(1, "second", "b")]);
      nowMs += 1_000;
      await store.append([planned(2, "first", "a")]);
      expect(await (await reopened()).sweeps()).toEqual([
        { sweepId: "second", name: "b", plannedAtMs: 1_700_000_001_000 },
        { sweepId: "first", name: "a", plannedAtMs: 1_700_000_000_000 },
      ]);
    });

    test("a trial is finished when it is done and its files are there", async () => {
      await store.append([...begun(), trained(1)]);
      expect(await store.finishedTrial("00ff")).toBeNull();
      await store.append([trialDone(2, "00ff")]);
      expect(await store.finishedTrial("00ff")).toBeNull();
      await store.append([fetched(3, null)]);
      expect(await store.finishedTrial("00ff")).toBeNull();
      await store.append([fetched(4, "00ff")]);
      expect(await store.finishedTrial("00ff")).toEqual({ sweepId: SWEEP, runId: RUN });
      expect(await store.finishedTrial("00fe")).toBeNull();
    });

    test("the oldest finished run of a trial counts", async () => {
      await store.append([...begun(), trialDone(1, "00ff"), planned(1, "later"), lease(2, 1, "r2", "later")]);
      await store.append([trialDone(1, "00ff", { runId: "r2", sweepId: "later" }), fetched(3, "00ff", "r2", "later")]);
      expect(await store.finishedTrial("00ff")).toEqual({ sweepId: "later", runId: "r2" });
      await store.append([fetched(3, "00ff")]);
      expect(await (await reopened()).finishedTrial("00ff")).toEqual({ sweepId: SWEEP, runId: RUN });
    });

    test("a second writer is told who holds the store, and a reader is not held up", async () => {
      await store.append(begun());
      await expect(backend.write()).rejects.toMatchObject({
        code: "store_busy",
        message: expect.stringMatching(
          `process ${process.pid} on ${hostname()} holds .* since 2023-11-14T22:13:20.000Z`,
        ),
        cause: { pid: process.pid, host: hostname(), sinceMs: 1_700_000_000_000 },
      });
      const reader = await backend.read();
      expect(await everything(reader)).toHaveLength(2);
      await store.append([trained(1)]);
      expect(await everything(reader)).toHaveLength(3);
      await reader[Symbol.asyncDispose]();
    });

    test("a writer that was replaced cannot append any more", async () => {
      await store.append(begun());
      await backend.raiseEpoch();
      await expect(store.append([trained(1)])).rejects.toMatchObject({ code: "store_busy" });
      const snapshot = { sweepId: SWEEP, position: 2, version: 1, body: Buffer.from("stale") };
      await expect(store.keepSnapshot(snapshot)).rejects.toMatchObject({ code: "store_busy" });
      expect(await everything(store)).toHaveLength(2);
    });

    test("an empty batch is no batch", async () => {
      expect(await store.append([])).toEqual([]);
    });
  });
}

const done = { manifest: undefined, seconds: 1, peakMemoryBytes: 0n };
