import type { ControlEvent, wire } from "@bora/contracts";
import type { SweepState } from "./sweep-state.js";

export type Message =
  | { kind: "event"; event: wire.Event }
  /** Decided on the state at its turn; `done` is called when what it made is stored. */
  | { kind: "decision"; make: (state: SweepState, nowMs: number) => ControlEvent[]; done: (made: boolean) => void }
  | { kind: "wake" };

const roomFor = 1_024;

/** What the loop has still to hear. Events wait for room, so that a fast trainer cannot fill the memory. */
export class Inbox {
  private messages: Message[] = [];
  private waiting: (() => void)[] = [];
  private arrived: (() => void) | null = null;
  private failure: { error: unknown } | null = null;

  put(message: Message): void {
    this.messages.push(message);
    this.arrived?.();
  }

  async putWithRoom(message: Message): Promise<void> {
    while (this.messages.length >= roomFor) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.put(message);
  }

  /** A fault of our own in a background task: the loop throws it. */
  fail(error: unknown): void {
    this.failure ??= { error };
    this.arrived?.();
  }

  /** Resolves when there is something to take, or when `timer` does. */
  async wait(timer: Promise<void>): Promise<void> {
    if (this.messages.length > 0 || this.failure !== null) return;
    await Promise.race([timer, new Promise<void>((resolve) => (this.arrived = resolve))]);
    this.arrived = null;
  }

  take(): Message[] {
    if (this.failure !== null) throw this.failure.error;
    const taken = this.messages;
    this.messages = [];
    for (const resume of this.waiting.splice(0)) resume();
    return taken;
  }
}
