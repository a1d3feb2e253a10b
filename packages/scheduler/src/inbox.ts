import type { ControlEvent, wire } from "@bora/contracts";
import type { SweepState } from "./sweep-state.js";

export type Message =
  | { kind: "event"; event: wire.Event }
  /** Decided on the state at its turn; `done` is called when what it made is stored. */
  | { kind: "decision"; make: (state: SweepState, nowMs: number) => ControlEvent[]; done: (made: boolean) => void }
  | { kind: "wake" };

const roomFor = 1_024;

/** What nothing is decided by: it may wait for others, to be stored with them in one transaction. */
const isPatient = (message: Message): boolean =>
  message.kind === "event" && (message.event.body?.$case === "stepsDone" || message.event.body?.$case === "evaluated");

/** What the loop has still to hear. Events wait for room, so that a fast trainer cannot fill the memory. */
export class Inbox {
  private messages: Message[] = [];
  private waiting: (() => void)[] = [];
  private arrived: (() => void) | null = null;
  private gathered: (() => void) | null = null;
  private urgent = false;
  private failure: { error: unknown } | null = null;

  put(message: Message): void {
    this.messages.push(message);
    this.urgent ||= !isPatient(message);
    this.arrived?.();
    if (this.isDue) this.gathered?.();
  }

  async putWithRoom(message: Message): Promise<void> {
    while (this.messages.length >= roomFor) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.put(message);
  }

  /** A fault of our own in a background task: the loop throws it. */
  fail(error: unknown): void {
    this.failure ??= { error };
    this.arrived?.();
    this.gathered?.();
  }

  /** Resolves when there is something to take, or when `timer` does. */
  async wait(timer: Promise<void>): Promise<void> {
    if (this.messages.length > 0 || this.failure !== null) return;
    await Promise.race([timer, new Promise<void>((resolve) => (this.arrived = resolve))]);
    this.arrived = null;
  }

  /** Resolves when what is there should wait no longer: it is much, something of it decides, or `timer` has run out. */
  async gather(timer: () => Promise<void>): Promise<void> {
    if (this.isDue) return;
    await Promise.race([timer(), new Promise<void>((resolve) => (this.gathered = resolve))]);
    this.gathered = null;
  }

  private get isDue(): boolean {
    return this.urgent || this.failure !== null || this.messages.length === 0 || this.messages.length >= roomFor;
  }

  take(): Message[] {
    if (this.failure !== null) throw this.failure.error;
    this.urgent = false;
    const taken = this.messages;
    this.messages = [];
    for (const resume of this.waiting.splice(0)) resume();
    return taken;
  }
}
