import { z } from "zod";
import { BoraError } from "./errors.js";

/** Prior precision in nats per squared parameter unit: 0 = independent adapters, Infinity = one shared adapter. */
export type Tau = number;

/** JSON has no infinity, so every place that writes a tau writes this. */
export type TauJson = number | "inf";

const infinityWords = new Set(["inf", ".inf", "+.inf", "+inf", "infinity", "Infinity", "∞"]);

/** Reads a tau that a person typed or a file holds. Throws BoraError spec_invalid for anything but [0, inf]. */
export function parseTau(value: unknown): Tau {
  if (typeof value === "string") {
    const word = value.trim();
    if (infinityWords.has(word)) return Infinity;
    const parsed = word === "" ? NaN : Number(word);
    if (parsed >= 0) return parsed;
  }
  if (typeof value === "number" && value >= 0) return value === 0 ? 0 : value; // -0 is 0
  throw new BoraError(
    "spec_invalid",
    `tau is ${JSON.stringify(value) ?? String(value)}; expected a number from 0 to inf`,
    {
      hint: "tau is a precision in nats: 0 trains every task alone, inf trains one shared adapter",
    },
  );
}

/** The one way a tau enters JSON; parseTau reads it back. */
export const tauToJson = (tau: Tau): TauJson => (tau === Infinity ? "inf" : tau);

/** For people: 0, 1e-3, 1000 as 1e3, inf; four digits of any other, so half a decade is 316.2. */
export function formatTau(tau: Tau): string {
  if (tau === Infinity) return "inf";
  const short = Number(tau.toPrecision(4));
  if (short === 0 || (short >= 0.01 && short < 1000)) return String(short);
  return short.toExponential().replace("e+", "e");
}

/** zod type of a tau in files and events; zod's own number type knows no infinity. Programs may write Infinity too. */
export const tauSchema = z
  .custom<TauJson>()
  .transform((value, context) => {
    try {
      return parseTau(value);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  })
  .meta({
    title: "tau",
    description: "prior precision in nats: 0 = independent adapters, inf = one shared adapter",
    anyOf: [{ type: "number", minimum: 0 }, { enum: ["inf", ".inf"] }],
  });
