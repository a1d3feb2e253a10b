import { controlStream } from "@bora/contracts";
import { memoryStore, type NewEvent, type StoreReader } from "@bora/store";
import { expect, test } from "vitest";
import { StoredSweepLog } from "./sweep-log.js";

const sweepId = "tiny-0123abcd";
const paused = (seq: number): NewEvent => ({
  ...{ sweepId, runId: controlStream(sweepId), seq, attempt: 0 },
  body: { stream: "control", event: { kind: "paused", code: "user", reason: String(seq) } },
});

test("a store that is not there yet is opened again until it is, then read from a position on", async () => {
  await using writer = memoryStore();
  let opened = 0;
  const reader = Object.assign(Object.create(writer) as StoreReader, {
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  const open = () => {
    opened += 1;
    return Promise.resolve(reader);
  };
  await using log = new StoredSweepLog(open);
  expect([await log.sweeps(), await log.sweeps(), opened]).toEqual([[], [], 2]);

  await writer.append([paused(1), paused(2), paused(3)]);
  const reasons: unknown[] = [];
  for await (const { event } of log.events(sweepId, 1)) reasons.push(event.kind === "paused" && event.reason);
  expect(reasons).toEqual(["2", "3"]);
});
