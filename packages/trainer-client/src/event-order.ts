import type { wire } from "@bora/contracts";

/** Events kept while the ones before them are being read again; beyond it they are dropped and read again too. */
export const maxHeldEvents = 1024;

/**
 * Puts the events of one run in order, whatever a lossy source drops, repeats or swaps; docs/protocol.md, "Live events".
 * With `expected` = last delivered seq + 1: another attempt, or a lower seq, is dropped; an equal one is delivered with
 * those held behind it; a greater one is held until the gap was read again from the log. Holds at most 1,024 events.
 */
export class EventOrder {
  readonly #held = new Map<number, wire.Event>();
  #expected: number;
  #highest: number;

  constructor(afterSeq: number) {
    this.#expected = afterSeq + 1;
    this.#highest = afterSeq;
  }

  /** The seq that is delivered next. */
  get expected(): number {
    return this.#expected;
  }

  /** Whether an event is known to exist that has not been delivered. */
  get behind(): boolean {
    return this.#highest >= this.#expected;
  }

  get held(): number {
    return this.#held.size;
  }

  /** The trainer says that it has written events up to here. */
  noteLastSeq(seq: number): void {
    this.#highest = Math.max(this.#highest, seq);
  }

  /** What may be delivered now that `event` has come, in order. `attempt` null: of any attempt. */
  offer(event: wire.Event, attempt: number | null): wire.Event[] {
    if ((attempt !== null && event.attempt !== attempt) || event.seq < this.#expected) return [];
    this.noteLastSeq(event.seq);
    if (event.seq > this.#expected) {
      if (this.#held.size < maxHeldEvents) this.#held.set(event.seq, event);
      return [];
    }
    const ready: wire.Event[] = [];
    for (let next: wire.Event | undefined = event; next !== undefined; next = this.#held.get(this.#expected)) {
      ready.push(next);
      this.#held.delete(this.#expected);
      this.#expected += 1;
    }
    return ready;
  }
}
