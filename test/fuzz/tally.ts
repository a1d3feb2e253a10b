import { isErrorCode } from "@bora/contracts";
import { z } from "zod";

const count = z.number().int().min(0);

/** What became of some inputs. An input that is neither accepted nor refused with a code of ours is a fault of ours. */
export const Tally = z.object({
  inputs: count,
  accepted: count,
  refused: z.record(z.string(), count), // by code, or by what the protocol below has for it
  crashes: count, // anything else thrown, a process that ended
  hangs: count,
  internal: count, // HTTP 500, gRPC's UNKNOWN and INTERNAL, the code `internal`
  escapes: count, // files outside the roots that were read, written or named
  residentMiB: z.number().min(0), // of the process that reads the inputs, after them; 0: not measured
  samples: z.array(z.string()), // of faults, to do again
});
export type Tally = z.infer<typeof Tally>;

export const emptyTally = (): Tally => ({
  ...{ inputs: 0, accepted: 0, refused: {}, crashes: 0, hangs: 0, internal: 0, escapes: 0, residentMiB: 0 },
  samples: [],
});

/** What is no code of docs/errors.md, but a refusal that a protocol has words of its own for. */
const protocolWords = /^(HTTP \d{3}|closed|dropped|passed over|gRPC [A-Z_]+|fallen back)$/;

export const faults = ({ crashes, hangs, internal, escapes }: Tally): number => crashes + hangs + internal + escapes;

const mostSamples = 20;

export function add(sum: Tally, more: Tally): Tally {
  const refused = { ...sum.refused };
  for (const [code, times] of Object.entries(more.refused)) refused[code] = (refused[code] ?? 0) + times;
  return {
    inputs: sum.inputs + more.inputs,
    accepted: sum.accepted + more.accepted,
    refused,
    crashes: sum.crashes + more.crashes,
    hangs: sum.hangs + more.hangs,
    internal: sum.internal + more.internal,
    escapes: sum.escapes + more.escapes,
    residentMiB: more.residentMiB,
    samples: [...sum.samples, ...more.samples].slice(0, mostSamples),
  };
}

/** Counts refusals with a code that docs/errors.md has no section for, or with `internal`, as the faults they are. */
export function judged(tally: Tally): Tally {
  const refused: Record<string, number> = {};
  let internal = tally.internal;
  const samples = [...tally.samples];
  for (const [code, times] of Object.entries(tally.refused)) {
    if ((isErrorCode(code) && code !== "internal") || protocolWords.test(code)) refused[code] = times;
    else {
      internal += times;
      samples.push(`${times} refused with ${JSON.stringify(code)}`);
    }
  }
  return { ...tally, refused, internal, samples };
}
