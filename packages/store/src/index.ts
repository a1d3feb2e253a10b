export { openStore, type OpenStore, type StoreLocation } from "./open-store.js";
export { checkStore, type StoreCheck } from "./check-store.js";
export { backupStore } from "./backup-store.js";
export { memoryStore, MemoryStorage } from "./memory-store.js";
export {
  type Store,
  type StoreReader,
  type NewEvent,
  type StoredEvent,
  type EventBody,
  type EventQuery,
  type Snapshot,
  type SweepSummary,
  type StoreHolder,
  type StoreWriter,
} from "./store.js";
