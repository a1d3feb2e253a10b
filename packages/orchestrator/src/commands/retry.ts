import { BoraError } from "@bora/contracts";
import type { SweepCommand } from "@bora/sdk";
import type { ExitName } from "../exit-codes.js";
import type { RetryOptions } from "../program.js";
import type { Terminal } from "../terminal.js";
import { send } from "./verbs.js";

type Selection = Extract<SweepCommand, { verb: "retry" }>["selection"];

/** Exactly one way to say which trials. Throws usage. */
export function selectionOf(trialIds: readonly string[], options: Omit<RetryOptions, "out">): Selection {
  const { failed, lost, missing, code } = options;
  const ways: Selection[] = [
    ...(trialIds.length > 0 ? [{ by: "trials" as const, trialIds: [...trialIds] }] : []),
    ...(failed === true || code !== undefined
      ? [{ by: "failed" as const, ...(code === undefined ? {} : { code }) }]
      : []),
    ...(lost === true ? [{ by: "lost" as const }] : []),
    ...(missing === true ? [{ by: "missing" as const }] : []),
  ];
  const [way] = ways;
  if (way !== undefined && ways.length === 1) return way;
  throw new BoraError("usage", `retry was told ${ways.length} ways which trials; expected one`, {
    hint: "name trials, or give one of --failed [--code CODE], --lost, --missing",
  });
}

/** `bora retry`: sends trials back to the queue, through the controller or by becoming it. */
export async function retry(trialIds: string[], options: RetryOptions, terminal: Terminal): Promise<ExitName> {
  const selection = selectionOf(trialIds, options);
  return send({ verb: "retry", selection }, options.sweep, options, terminal);
}
