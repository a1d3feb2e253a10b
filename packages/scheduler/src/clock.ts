import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";

/**
 * Timestamps come from the wall clock; durations and leases from the monotonic one, which nobody sets back. The wall
 * clock is read once: a retry that is due in 5 s stays so when the clock is set by hours meanwhile.
 */
export interface Clock {
  wallMs(): number;
  monotonicMs(): number;
  /** Rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  wallMs: () => Math.round(performance.timeOrigin + performance.now()),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal }),
};
