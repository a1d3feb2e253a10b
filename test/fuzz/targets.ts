/** One row of the table: who reads what, and how much of it. */
export interface Target {
  name: string;
  /** Its session's key in worker.ts, or in trainer-py/fuzz. */
  session: { on: "control plane" | "trainer"; key: string };
  short: number; // inputs, in the form that CI runs
  long: number;
  batch: number; // inputs a line to the worker
  limitMs?: number; // within which it answers; two minutes
}

const here = (key: string) => ({ on: "control plane", key }) as const;
const trainer = (key: string) => ({ on: "trainer", key }) as const;

export const targets: readonly Target[] = [
  { name: "experiment files", session: here("experiments"), short: 2_000, long: 100_000, batch: 1_000 },
  { name: "stored events, decoded and folded", session: here("events"), short: 5_000, long: 250_000, batch: 2_500 },
  { name: "files of the control plane", session: here("files"), short: 1_000, long: 30_000, batch: 1_000 },
  { name: "ZeroMQ frames to the subscriber", session: here("frames"), short: 10_000, long: 500_000, batch: 5_000 },
  { name: "bytes to the subscriber's socket", session: here("sockets"), short: 30, long: 600, batch: 15 },
  { name: "requests to `bora serve`", session: here("http"), short: 1_500, long: 20_000, batch: 500 },
  {
    name: "schemathesis on both OpenAPI documents",
    session: here("schemathesis"),
    short: 200,
    long: 4_000,
    batch: 4_000,
    limitMs: 900_000,
  },
  { name: "gRPC calls to a trainer", session: trainer("calls"), short: 800, long: 20_000, batch: 400 },
  { name: "bytes as gRPC messages", session: trainer("payloads"), short: 1_000, long: 20_000, batch: 500 },
  { name: "bytes to a trainer's two ports", session: trainer("ports"), short: 120, long: 3_000, batch: 60 },
  {
    name: "request messages, read in process",
    session: trainer("messages"),
    short: 5_000,
    long: 200_000,
    batch: 4_000,
  },
  { name: "event log files", session: trainer("event_logs"), short: 1_500, long: 40_000, batch: 500 },
  { name: "checkpoints", session: trainer("checkpoints"), short: 300, long: 10_000, batch: 300 },
  { name: "files of the trainer", session: trainer("files"), short: 1_000, long: 40_000, batch: 500 },
];
