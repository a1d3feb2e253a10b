import { wire } from "@bora/contracts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventOrder, maxHeldEvents } from "./event-order.js";

const event = (seq: number, attempt = 1): wire.Event => wire.Event.fromPartial({ runId: "run", seq, attempt });
const seqs = (events: readonly wire.Event[]): number[] => events.map(({ seq }) => seq);
const upTo = (last: number, from = 1): number[] => Array.from({ length: last - from + 1 }, (_, i) => from + i);

describe("EventOrder", () => {
  it("drops what was delivered, delivers what is expected, holds what is ahead", () => {
    const order = new EventOrder(4);
    expect(seqs(order.offer(event(4), 1))).toEqual([]);
    expect(seqs(order.offer(event(5), 1))).toEqual([5]);
    expect(seqs(order.offer(event(7), 1))).toEqual([]);
    expect(order.behind).toBe(true);
    expect(seqs(order.offer(event(6), 1))).toEqual([6, 7]);
    expect(order.behind).toBe(false);
  });

  it("drops another attempt's events, unless it was not told which is ours", () => {
    const order = new EventOrder(0);
    expect(order.offer(event(1, 1), 2)).toEqual([]);
    expect(order.offer(event(1, 3), 2)).toEqual([]);
    expect(order.behind).toBe(false);
    expect(seqs(order.offer(event(1, 3), null))).toEqual([1]);
  });

  it("knows from last_seq that the tail is missing", () => {
    const order = new EventOrder(2);
    order.noteLastSeq(2);
    expect(order.behind).toBe(false);
    order.noteLastSeq(3);
    expect(order.behind).toBe(true);
  });

  it("holds 1,024 events at most, and still knows that more exist", () => {
    const order = new EventOrder(0);
    for (const seq of upTo(5000, 2)) order.offer(event(seq), 1);
    expect(order.held).toBe(maxHeldEvents);
    expect(seqs(order.offer(event(1), 1))).toEqual(upTo(maxHeldEvents + 1));
    expect(order.behind).toBe(true);
    expect(order.held).toBe(0);
  });

  it("delivers every event once and in order, whatever is dropped, repeated or swapped", () => {
    const frame = fc.record({ seq: fc.integer({ min: 1, max: 60 }), reread: fc.boolean() });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 200 }), fc.integer({ min: 0, max: 10 }), (frames, afterSeq) => {
        const order = new EventOrder(afterSeq);
        const delivered: number[] = [];
        const readAgain = () => {
          for (const seq of upTo(60, order.expected)) delivered.push(...seqs(order.offer(event(seq), null)));
        };
        for (const { seq, reread } of frames) {
          delivered.push(...seqs(order.offer(event(seq), 1)));
          expect(delivered).toEqual(upTo(afterSeq + delivered.length, afterSeq + 1));
          if (order.behind && reread) readAgain();
        }
        order.noteLastSeq(60);
        if (order.behind) readAgain();
        expect(delivered).toEqual(upTo(60, afterSeq + 1));
        expect(order.held).toBe(0);
      }),
    );
  });
});
