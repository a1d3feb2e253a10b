import type { TransportTls } from "@bora/contracts";

export type Placement =
  | {
      at: "ready";
      trainerId: string;
      instanceId: string;
      address: string;
      token: string;
      tls?: TransportTls | null; // none: in clear, on loopback alone
      node: string;
      devices: string[]; // as far as the placement knows; the trainer's Describe says it all
    }
  | { at: "gone"; trainerId: string; reason: string };

export interface PlaceRequest {
  trainerId: string; // names the trainer for good: placing it again finds the one that lives
  leaseMs: number; // the trainer leaves by itself once its lease has lapsed
  avoid?: readonly string[]; // addresses where a trainer runs that is not to be taken now
}

/** Of the ids of trainers that answer questions beside a sweep, for whoever asks: no sweep's controller ends them. */
export const textTrainerPrefix = "text-";

/** Where trainers come from. A placed trainer outlives the controller by its lease, so that a new one can adopt it. */
export interface Placer {
  /**
   * Starts the trainer or finds the one that lives; idempotent by trainerId. Rejects with environment_missing,
   * busy (none is free), trainer_lost, port_taken, and whatever other error the trainer ended with before it was ready.
   */
  place(request: PlaceRequest, signal: AbortSignal): Promise<Placement & { at: "ready" }>;
  /**
   * Every trainer placed and not released; asked at boot. "ready": its process lives, whether it answers or not.
   * "gone": no process of it is left, so that nothing of it writes any more.
   */
  list(signal: AbortSignal): Promise<Placement[]>;
  /** Ends the trainer's process group and waits until it is gone: SIGTERM, grace, SIGKILL. No-op for one that is not there. */
  release(trainerId: string, graceMs: number, signal: AbortSignal): Promise<void>;
}
