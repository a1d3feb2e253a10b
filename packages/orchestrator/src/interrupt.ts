/** Two signals closer than this are one key press: npm hands a terminal's SIGINT on to a child that has it already. */
const samePressMs = 300;
/** Nx answers Ctrl-C by SIGTERM to its children. */
const sameRequestMs = 2_000;

export interface Interrupts {
  /** The first request: finish the step, write a checkpoint. */
  onFirst(): void;
  /** Another request: leave at once. */
  onSecond(): void;
}

/** Sorts signals into requests; pure but for the two callbacks. */
export function signalSorter(requests: Interrupts): (signal: "SIGINT" | "SIGTERM", nowMs: number) => void {
  let first: number | null = null;
  let lastSigint = -Infinity;
  return (signal, nowMs) => {
    const repeated = nowMs - lastSigint < (signal === "SIGTERM" ? sameRequestMs : samePressMs);
    if (signal === "SIGINT") lastSigint = nowMs;
    if (repeated) return;
    if (first === null) {
      first = nowMs;
      requests.onFirst();
    } else requests.onSecond();
  };
}

/** Listens for SIGINT and SIGTERM until disposed. */
export function listenForInterrupts(requests: Interrupts): Disposable {
  const sort = signalSorter(requests);
  const onSignal = (signal: NodeJS.Signals) => {
    if (signal === "SIGINT" || signal === "SIGTERM") sort(signal, performance.now());
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return {
    [Symbol.dispose]() {
      process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    },
  };
}
