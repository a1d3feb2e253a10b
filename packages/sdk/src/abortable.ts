import { BoraError } from "@bora/contracts";

/** Any call of a lab can be given up: it then rejects with the signal's reason. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
}

/** The work's value, or the signal's reason when that aborts first; the work itself goes on. */
export function untilAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      reject(signal.reason as Error); // whatever the caller aborted with
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", giveUp);
    });
  });
}

/** Aborts with whichever of them aborts first; an undefined one never does. */
export const eitherSignal = (own: AbortSignal, callers: AbortSignal | undefined): AbortSignal =>
  callers === undefined ? own : AbortSignal.any([own, callers]);

/** What calls reject with that a disposed lab had in hand, or gets afterwards. */
export const labClosed = (): BoraError =>
  new BoraError("interrupted", "the lab was disposed before this call came to its end", {
    hint: "open another one with openLab(); a sweep goes on from its last checkpoint",
  });
