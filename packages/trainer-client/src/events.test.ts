import type { wire } from "@bora/contracts";
import { setImmediate as soon } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTrainer } from "./grpc-trainer.js";
import { runId, ScriptedTrainer, token, type Loss } from "./scripted-trainer.fixture.js";
import type { Trainer } from "./trainer.js";

const none = new AbortController().signal;
const step = (step: number): wire.Event["body"] => ({
  $case: "stepsDone",
  stepsDone: { step, steps: 1, tokens: 96n, seconds: 0.1, fits: [], real: 100n, padded: 4n },
});
const done: wire.Event["body"] = {
  $case: "runDone",
  runDone: { manifest: undefined, seconds: 1, peakMemoryBytes: 1n },
};
const upTo = (last: number, from = 1): number[] => Array.from({ length: last - from + 1 }, (_, i) => from + i);

/** Numbers in [0, 1) from a seed: a run of the test can be repeated. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** Drops 30 % of the frames, repeats 15 %, and sends 15 % behind the one that follows. */
function lossy(seed: number): Loss {
  const next = numbers(seed);
  let late: wire.Event[] = [];
  return (event) => {
    const chance = next();
    const behind = late;
    late = [];
    if (chance < 0.3) return behind;
    if (chance < 0.45) return [event, ...behind, event];
    if (chance < 0.6) {
      late = [event];
      return behind;
    }
    return [event, ...behind];
  };
}

describe("events", () => {
  let script: ScriptedTrainer;
  let trainer: Trainer;
  beforeEach(async () => {
    script = new ScriptedTrainer();
  });
  afterEach(async () => {
    await trainer[Symbol.asyncDispose]();
    script[Symbol.dispose]();
  });

  const open = async () => {
    const address = await script.listen();
    trainer = await openTrainer({ address, token }, none, { idleMs: 20, backoffMs: 10 });
    await trainer.renew({ runId, attempt: 1 }, 60_000, 0, none);
  };
  const reads = () => script.calls.filter((call) => call.startsWith("readEvents"));
  /** The reader has changed from the log to the live source (its second read), and frames reach it. */
  const listening = async () => {
    while (reads().length < 2) await soon();
    await script.subscribed();
  };

  it("come whole and in order while 30 % of the frames are dropped and others repeated or swapped", async () => {
    await script.openPublisher();
    script.loss = lossy(7);
    await open();
    const seqs: number[] = [];
    const telling = (async () => {
      await listening();
      for (const n of upTo(1999)) {
        await script.say(step(n));
        if (n % 10 === 0) await soon();
      }
      script.loss = () => []; // the very last frame is lost
      await script.say(done);
      await trainer.renew({ runId, attempt: 1 }, 60_000, 0, none);
    })();
    for await (const event of trainer.events(runId, 0, none)) seqs.push(event.seq);
    await telling;
    expect(seqs).toEqual(upTo(2000));
    expect(reads().filter((call) => call === "readEvents follow")).toHaveLength(1);
  });

  it("live on ZeroMQ alone while nothing is lost", async () => {
    await script.openPublisher();
    await open();
    const seqs: number[] = [];
    const telling = (async () => {
      await listening();
      for (const n of upTo(299)) await script.say(step(n));
      await script.say(done);
    })();
    for await (const event of trainer.events(runId, 0, none)) seqs.push(event.seq);
    await telling;
    expect(seqs).toEqual(upTo(300));
    expect(reads().length).toBeLessThanOrEqual(3);
  });

  it("follow the log where ZeroMQ's port is blocked", async () => {
    await open();
    const telling = (async () => {
      for (const n of upTo(99)) {
        await script.say(step(n));
        await soon();
      }
      await script.say(done);
    })();
    const seqs: number[] = [];
    for await (const event of trainer.events(runId, 40, none)) seqs.push(event.seq);
    await telling;
    expect(seqs).toEqual(upTo(100, 41));
    expect(reads()).toEqual(["readEvents follow"]);
  });

  it("go back to the log when the publisher goes away", async () => {
    await script.openPublisher();
    await open();
    const seqs: number[] = [];
    const telling = (async () => {
      await listening();
      for (const n of upTo(10)) await script.say(step(n));
      script.closePublisher();
      for (const n of upTo(9)) await script.say(step(10 + n));
      await script.say(done);
    })();
    for await (const event of trainer.events(runId, 0, none)) seqs.push(event.seq);
    await telling;
    expect(seqs).toEqual(upTo(20));
    expect(reads().at(-1)).toBe("readEvents follow");
  });

  it("survive a server that goes away and comes back while its log is being followed", async () => {
    await open();
    const seqs: number[] = [];
    const reading = (async () => {
      for await (const event of trainer.events(runId, 0, none)) seqs.push(event.seq);
    })();
    await script.say(step(1));
    while (seqs.length < 1) await soon();
    await script.kill();
    await script.listen();
    await script.say(step(2));
    await script.say(done);
    await reading;
    expect(seqs).toEqual([1, 2, 3]);
  });

  it("of another attempt, and frames that are no events, are dropped", async () => {
    await script.openPublisher();
    script.loss = (event) => [{ ...event, attempt: 9 }, event];
    await open();
    const events: wire.Event[] = [];
    const telling = (async () => {
      await listening();
      await script.publish(Buffer.from([255, 255, 255]));
      await script.say(step(1));
      await script.say(done);
      await trainer.renew({ runId, attempt: 1 }, 60_000, 0, none);
    })();
    for await (const event of trainer.events(runId, 0, none)) events.push(event);
    await telling;
    expect(events.map(({ seq, attempt }) => [seq, attempt])).toEqual([
      [1, 1],
      [2, 1],
    ]);
  });

  it("end in stale_attempt when a later attempt has written the log", async () => {
    await open();
    await script.say(step(1), 2);
    const reading = (async () => {
      for await (const _ of trainer.events(runId, 0, none)) expect.unreachable();
    })();
    await expect(reading).rejects.toMatchObject({
      code: "stale_attempt",
      message: expect.stringContaining("attempt 2"),
    });
  });

  it("end in event_conflict when the log lacks an event that was announced", async () => {
    await script.openPublisher();
    await open();
    const reading = (async () => {
      for await (const { seq } of trainer.events(runId, 0, none)) expect(seq).toBe(1);
    })();
    await listening();
    await script.say(step(1));
    script.events.push({ ...(script.events[0] as wire.Event), seq: 3 });
    await script.say(step(4)); // numbered 3 by its place in the log
    await expect(reading).rejects.toMatchObject({ code: "event_conflict", message: expect.stringContaining("2") });
  });

  it("of a run that is over are read to the end of its log, with or without a last event", async () => {
    await open();
    await script.say(step(1));
    await script.say(step(2));
    script.held = false;
    const seqs: number[] = [];
    script.before = (call) => {
      if (call.startsWith("readEvents")) queueMicrotask(() => void script.say(done));
    };
    for await (const event of trainer.events(runId, 1, none)) seqs.push(event.seq);
    expect(seqs).toEqual([2, 3]);
  });

  it("end quietly when the signal aborts, following and live", async () => {
    await open();
    for (const live of [false, true]) {
      if (live) await script.openPublisher();
      const stop = new AbortController();
      const before = reads().length;
      const reading = (async () => {
        for await (const _ of trainer.events(runId, 0, stop.signal)) expect.unreachable();
      })();
      while (reads().length < before + (live ? 2 : 1)) await soon();
      stop.abort();
      await reading;
    }
  });

  it("wait for a slow reader: nothing piles up here", async () => {
    await script.openPublisher();
    await open();
    for (const n of upTo(3000)) await script.say(step(n));
    const reader = trainer.events(runId, 0, none)[Symbol.asyncIterator]();
    expect((await reader.next()).value?.seq).toBe(1);
    for (const n of upTo(12_000)) await script.say(step(3000 + n)); // more than ZeroMQ keeps
    await script.say(done);
    let last = 1;
    for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
      expect(next.value.seq).toBe(last + 1);
      last += 1;
    }
    expect(last).toBe(15_001);
  });
});
