import type { Inspected, RunBase, TransportTls, wire } from "@bora/contracts";

export interface TrainerAddress {
  address: string; // host:port of the gRPC server
  token: string;
  tls?: TransportTls | null; // none: in clear, on loopback alone
  /** Where a host:port of the trainer is reached from here, through a tunnel or a proxy; itself when left out. */
  route?: (target: string) => Promise<string>;
}

export interface StartAttempt {
  spec: wire.RunSpec;
  attempt: number;
  firstSeq: number;
  leaseMs: number;
  resumeStep: number;
}

/** What an inspection reads of a run. A prior mean must be of the run's adapter; what is evaluated need not. */
export type InspectedBase = Pick<RunBase, "model" | "data" | "adapter"> & Partial<Pick<RunBase, "prior" | "evaluate">>;

export interface HeldAttempt {
  runId: string;
  attempt: number;
}

/** One trainer, over gRPC for commands and ZeroMQ for live events. Every call rejects with a BoraError. */
export interface Trainer extends AsyncDisposable {
  describe(signal: AbortSignal): Promise<wire.DescribeResponse>;
  /** Reads data, model and the adapter folders of a run without training; minutes on a first use of a model. */
  inspect(base: InspectedBase, signal: AbortSignal): Promise<Inspected>;
  /** Idempotent by (runId, attempt). */
  start(start: StartAttempt, signal: AbortSignal): Promise<void>;
  /** Heartbeat; also adopts a held run after a restart of the controller. */
  renew(held: HeldAttempt, leaseMs: number, storedSeq: number, signal: AbortSignal): Promise<wire.RenewLeaseResponse>;
  cancel(held: HeldAttempt, mode: "drain" | "kill", signal: AbortSignal): Promise<void>;
  /**
   * The run's events from `afterSeq + 1`, in order, without gaps or repeats, until the run ends (run_done, run_failed)
   * or the signal aborts. Live from ZeroMQ; gaps and the tail are read again over gRPC.
   */
  events(runId: string, afterSeq: number, signal: AbortSignal): AsyncIterable<wire.Event>;
  /** Copies a file of the run to `to`, atomically, resuming a broken transfer; rejects with artifact_corrupt when size or sha256 differ. */
  fetch(runId: string, artifact: wire.Artifact, to: string, signal: AbortSignal): Promise<void>;
}

export type ConnectTrainer = (address: TrainerAddress, signal: AbortSignal) => Promise<Trainer>;
