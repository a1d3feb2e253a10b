import type { Clock } from "./clock.js";

interface Timer {
  atMs: number;
  wake: () => void;
}

/** Time that stands still until everybody waits, and then jumps to the next moment somebody waits for. */
export class FakeClock implements Clock {
  private nowMs = 0;
  private timers: Timer[] = [];

  wallMs(): number {
    return 1_700_000_000_000 + this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        this.timers = this.timers.filter((one) => one !== timer);
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const timer: Timer = { atMs: this.nowMs + Math.max(0, ms), wake };
      this.timers.push(timer);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Lets time pass until `done()`; throws when nobody waits for anything any more, or `limitMs` have passed. */
  async until(done: () => boolean, limitMs = 3_600_000): Promise<void> {
    const endMs = this.nowMs + limitMs;
    for (;;) {
      await settle();
      if (done()) return;
      const next = this.timers.reduce<Timer | null>(
        (first, one) => (first && first.atMs <= one.atMs ? first : one),
        null,
      );
      if (next === null) throw new Error(`nothing will happen any more, at ${this.nowMs} ms`);
      if (next.atMs > endMs) throw new Error(`still not done after ${limitMs} ms`);
      this.timers = this.timers.filter((one) => one !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.wake();
    }
  }

  /** What a promise comes to, while time passes. */
  async result<T>(promise: Promise<T>, limitMs?: number): Promise<T> {
    let settled = false;
    const mark = () => (settled = true);
    promise.then(mark, mark);
    await this.until(() => settled, limitMs);
    return promise;
  }

  async pass(ms: number): Promise<void> {
    let passed = false;
    void this.sleep(ms).then(() => (passed = true));
    await this.until(() => passed);
  }
}

const fileWork = () => process.getActiveResourcesInfo().some((name) => /^(FS|File|Close)/.test(name));

/** Until no callback and no file operation is under way. */
async function settle(): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet = fileWork() ? 0 : quiet + 1)
    await new Promise((resolve) => setImmediate(resolve));
}
