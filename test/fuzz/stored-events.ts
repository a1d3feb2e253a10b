import { readdirSync, readFileSync } from "node:fs";
import { controlStream, encodeControlEvent, wire, type ControlEvent, type Inspected } from "@bora/contracts";
import { foldSweep } from "@bora/scheduler";
import { decodeSweepEvent, encodeSweepEvent } from "@bora/sdk/controller";
import { memoryStore, MemoryStorage, type NewEvent } from "@bora/store";
import { sweepEvent } from "../../packages/sdk/src/sweep-event.js";
import type { Random } from "../faults/random.js";
import { hostileNumbers, hostileString, mutateBytes, mutateText, mutateValue } from "./hostile.js";
import { judge, Unsound } from "./judge.js";
import { add } from "./tally.js";
import type { Session } from "./worker.js";

const sweepId = "full-0123abcd";
const runId = "6f2c1f0e-8a1f-4a7e-9d55-0a4f6a6f1c11";
const trialIds = ["trial-0", "trial-1"];
const golden = new URL("../../proto/golden/", import.meta.url);
const trainerEvents = readdirSync(golden)
  .filter((name) => name.startsWith("event_") && name.endsWith(".binpb"))
  .map((name) => wire.Event.decode(readFileSync(new URL(name, golden))));

const counts = { train: 3, validation: 1, test: 1 };
const inspected: Inspected = {
  tasks: [{ name: "romeo", slug: "romeo", documents: counts, scoredTokens: counts, cutDocuments: 0, cutTokens: 0 }],
  ...{ dataHash: "d", modelHash: "m", modelName: "tiny", warnings: [], files: [], adaptedModules: 2 },
  ...{ baseParameters: 1000, parametersPerRow: 8, bytesPerRow: 1000, baseBytes: 1000, device: "cpu" },
  ...{ trainTokensPerSecond: 100, evaluateTokensPerSecond: 100, bytesPerFit: 1, activationBytesPerToken: 1 },
  ...{ keptBytesPerToken: 1, microBatchTokens: 1, workingBytes: 1, processBytes: 1, prefixCacheBytes: 0 },
  ...{ freeMemoryBytes: 1, memoryBytes: 1 },
};
const attempt = { runId, attempt: 2 };
const failure = { code: "device_error", domain: "infra", message: "it fell off", hint: "" } as const;
const controls: ControlEvent[] = [
  {
    kind: "sweep_planned",
    plan: {
      ...{ sweepId, name: "full", packs: [{ id: runId, trialIds }] },
      trials: [
        { id: "trial-0", tau: 0, seed: 0 },
        { id: "trial-1", tau: Infinity, seed: 0 },
      ],
    },
    experiment: { name: "full" },
    inspected,
  },
  { kind: "trials_queued", trialIds },
  { kind: "lease_granted", ...attempt, trainerId: "t", trialIds, leaseMs: 60_000, firstSeq: 1, resumeStep: 0 },
  { kind: "attempt_failed", ...attempt, ...failure, retryAtMs: 5 },
  { kind: "paused", code: "user", reason: "asked" },
  { kind: "resumed" },
  { kind: "artifacts_fetched", trialId: "trial-0", runId },
  { kind: "metrics_missing", trialIds: ["trial-1"], runId, lastSeq: 4 },
  { kind: "trials_requeued", trialIds, reason: "retry" },
  { kind: "pack_split", runId, packs: [{ id: "a", trialIds: ["trial-0"] }] },
  { kind: "results_lost", trialId: null, runId, ...failure },
  { kind: "trials_cancelled", trialIds },
  { kind: "sweep_ended", outcome: "failed" },
];

const ofControl = (event: ControlEvent, seq: number): NewEvent => ({
  ...{ sweepId, runId: controlStream(sweepId), seq, attempt: 0 },
  body: { stream: "control", event },
});

function ofTrainer(event: wire.Event, seq: number): NewEvent {
  const body = { ...event, runId, seq, attempt: 2 };
  return { ...{ sweepId, runId, seq, attempt: 2 }, body: { stream: "trainer", event: body } };
}

/** A log in which a run is granted early and both streams go on beside each other. */
function wholeLog(random: Random): NewEvent[] {
  const events = controls.slice(0, 3).map((event, index) => ofControl(event, index + 1));
  const rest = controls.slice(3).map((event, index) => ofControl(event, index + 4));
  const named = trainerEvents.map((event) => ({ ...event, trialId: random.pick([...trialIds, "", "constructor"]) }));
  const told = named.map((event, index) => ofTrainer(event, index + 1));
  while (rest.length + told.length > 0) {
    const next = (random.next() < 0.5 ? rest.shift() : told.shift()) ?? rest.shift() ?? told.shift();
    if (next !== undefined) events.push(next);
  }
  return events;
}

type Row = MemoryStorage["rows"][number];

function rowOf({ sweepId: sweep, runId: run, seq, attempt: of, body }: NewEvent, position: number): Row {
  const bytes =
    body.stream === "control"
      ? Buffer.from(encodeControlEvent(body.event))
      : Buffer.from(wire.Event.encode(body.event).finish());
  const kind = body.stream === "control" ? body.event.kind : (body.event.body?.$case ?? "empty");
  const address = { sweep_id: sweep, run_id: run, seq, attempt: of };
  return { position, ...address, stream: body.stream, kind, body: bytes, recorded_at_ms: position };
}

/** JSON of a control event that has not been damaged yet; undefined for anything else. */
function valueOf(row: Row): unknown {
  try {
    return row.stream === "control" ? JSON.parse(Buffer.from(row.body).toString("utf8")) : undefined;
  } catch {
    return undefined;
  }
}

function damagedBody(random: Random, row: Row): Uint8Array {
  const value = valueOf(row);
  if (value === undefined || random.next() < 0.1) return mutateBytes(random, row.body);
  if (random.next() < 0.3) return Buffer.from(mutateText(random, JSON.stringify(value)));
  return Buffer.from(JSON.stringify(mutateValue(random, value)));
}

/** Rows as a damaged or foreign store holds them: changed, doubled, lost, in another order. */
function damagedRows(random: Random): Row[] {
  const rows = wholeLog(random).map((event, index) => rowOf(event, index + 1));
  for (let times = random.whole(1, 4); times > 0 && rows.length > 0; times -= 1) {
    const at = random.whole(0, rows.length - 1);
    const row = rows[at];
    if (row === undefined) continue;
    const kind = random.next();
    if (kind < 0.6) rows[at] = { ...row, body: damagedBody(random, row) };
    else if (kind < 0.7) rows.splice(at, 1);
    else if (kind < 0.8) rows.splice(random.whole(0, rows.length), 0, row);
    else if (kind < 0.9) rows.push(...rows.splice(at, 1));
    else
      rows[at] = {
        ...row,
        seq: random.whole(0, 20),
        attempt: random.whole(0, 3),
        stream: random.pick(["trainer", "control"]),
      };
  }
  return rows;
}

async function readRows(rows: Row[]): Promise<void> {
  const storage = new MemoryStorage();
  storage.rows.push(...rows);
  const store = memoryStore(storage);
  await foldSweep(store, sweepId);
  for await (const stored of store.read({ sweepId })) decodeSweepEvent(encodeSweepEvent(sweepEvent(stored)));
}

/** A batch as a confused or hostile trainer, or a second controller, would hand it to the store. */
function confusedBatches(random: Random): NewEvent[][] {
  const events = wholeLog(random).map((event): NewEvent => {
    const kind = random.next();
    if (kind < 0.8) return event;
    if (kind < 0.85) return { ...event, seq: random.pick(hostileNumbers) };
    if (kind < 0.9) return { ...event, runId: hostileString(random), attempt: random.whole(0, 3) };
    if (kind < 0.95) return { ...event, seq: random.whole(0, 8) };
    return { ...event, sweepId: random.pick(["another", "__proto__"]) };
  });
  const batches: NewEvent[][] = [];
  while (events.length > 0) batches.push(events.splice(0, random.whole(1, 6)));
  return batches;
}

/** Whatever is handed in, the log keeps its rules: numbers of a stream without gaps, and a fold that can be read. */
async function append(batches: NewEvent[][]): Promise<void> {
  const storage = new MemoryStorage();
  const store = memoryStore(storage);
  let refusal: unknown = null;
  for (const batch of batches) {
    try {
      await store.append(batch);
    } catch (thrown) {
      refusal ??= thrown;
    }
  }
  const last = new Map<string, number>();
  for (const { run_id: run, seq } of storage.rows) {
    if (seq !== (last.get(run) ?? 0) + 1) throw new Unsound(`event ${seq} of ${run} leaves a gap in the log`);
    last.set(run, seq);
  }
  await foldSweep(store, sweepId);
  if (refusal !== null) throw refusal;
}

/** The store's events: read from damaged rows, and admitted from confused senders; then folded, and told to a client. */
export function open(): Promise<Session> {
  return Promise.resolve({
    async run(random, count) {
      const appended = Math.floor(count / 3);
      const damaged = await judge(random, count - appended, damagedRows, readRows);
      return add(damaged, await judge(random, appended, confusedBatches, append));
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}
