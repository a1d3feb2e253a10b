import type { BoraError } from "@bora/contracts";
import type { SweepOutcome } from "@bora/sdk";

/** The one table of exit codes. Nx turns every failure into 1, so the last line printed names the code. */
export const exitCodes = {
  done: { code: 0, means: "done" },
  trial_failed: { code: 1, means: "some trial failed" },
  usage: { code: 2, means: "bad usage or experiment" },
  stopped: { code: 3, means: "stopped by a breaker or the control plane" },
  interrupted: { code: 130, means: "interrupted, resumable" },
} as const;

export type ExitName = keyof typeof exitCodes;

const byOutcome: Record<SweepOutcome["outcome"], ExitName> = {
  done: "done",
  failed: "trial_failed",
  stopped: "stopped",
  cancelled: "stopped",
  interrupted: "interrupted",
};

export const exitOfOutcome = ({ outcome }: Pick<SweepOutcome, "outcome">): ExitName => byOutcome[outcome];

/** A fault of the person is 2, a request to stop 130; everything else kept the sweep from going on. */
export function exitOfError(error: BoraError): ExitName {
  if (error.domain === "user") return "usage";
  return error.code === "interrupted" || error.code === "drained" ? "interrupted" : "stopped";
}

/** The last line of every sweep, for people who start it through Nx. */
export const exitLine = (name: ExitName): string => `exit ${exitCodes[name].code}: ${exitCodes[name].means}`;
