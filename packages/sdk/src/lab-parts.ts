import type { SweepResults } from "@bora/contracts";
import type { Placer } from "@bora/placement";
import type { Clock, SweepState } from "@bora/scheduler";
import type { Store, StoreReader } from "@bora/store";
import type { ConnectTextTrainer, ConnectTrainer } from "@bora/trainer-client";

/** What a lab is composed of, as plain parameters: the real parts, or their in-memory twins in tests. */
export interface LabParts {
  dir: string; // <out>: the store and one folder a sweep
  /** Opens the store to read; one that is not there yet reads as empty. */
  openReader(): Promise<StoreReader>;
  /** Throws store_busy while another process holds it, out_not_empty, store_newer. */
  openWriter(): Promise<Store>;
  /** A function, so that reading a finished sweep loads no placement. */
  placer(): Promise<Placer>;
  connectTrainer: ConnectTrainer;
  connectTextTrainer: ConnectTextTrainer;
  clock: Clock;
  freeMemoryBytes(): number | null; // of this machine; null where trainers run on others
  maxTrainers(): Promise<number>; // at work at once
  /** Writes results.json and its neighbours into `folder`, each atomically, and returns what results.json says. */
  writeResults(state: SweepState, folder: string): Promise<SweepResults>;
  leaseMs: number;
  newId(): string;
}
