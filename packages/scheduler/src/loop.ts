import type { BoraError, ControlEvent, wire } from "@bora/contracts";
import type { Placer } from "@bora/placement";
import type { Store } from "@bora/store";
import type { ConnectTrainer } from "@bora/trainer-client";
import type { Clock } from "./clock.js";
import type { Failure, SweepState } from "./sweep-state.js";
import type { TrainerPool } from "./trainer-pool.js";

export interface SweepDeps {
  store: Store;
  placer: Placer;
  connectTrainer: ConnectTrainer;
  clock: Clock;
  out: string; // the folder that holds the store and one folder a sweep
  leaseMs?: number; // 60 000
  maxTrainers?: number; // at work at once, 1
  newRunId?: () => string; // random UUIDs
  storePatienceMs?: number; // how long a store that does not answer is waited for, 300 000
  diskPatienceMs?: number; // and a full or read-only disk, 12 h: somebody comes in the morning
  roomIn?: (folder: string) => Promise<BoraError | null>; // whether the disk takes files; why not, or null
}

/** What the executors may do to the one loop: ask for its state, and hand it what happened. They decide nothing. */
export interface Loop {
  readonly deps: Required<SweepDeps>;
  readonly sweepId: string;
  readonly pool: TrainerPool;
  readonly signal: AbortSignal; // aborts when the loop ends
  state(): SweepState;
  /** Hands in a trainer's event; resolves when the loop has room for more. */
  deliver(event: wire.Event): Promise<void>;
  /** Has the loop store what `make` decides on the state at its turn; resolves with whether that was anything. */
  record(make: (state: SweepState, nowMs: number) => ControlEvent[]): Promise<boolean>;
  notice(error: Pick<BoraError, "code" | "message" | "hint">): void;
  /** For how long the store has refused to write, 0 when it works; while it does nothing is sent to a trainer. */
  blockedMs(): number;
  /** Monotonic time of the last moment at which the store refused to write; -Infinity when it never did. */
  lastBlockedMs(): number;
}

export const asFailure = ({ code, domain, message, hint }: BoraError): Failure => ({ code, domain, message, hint });
