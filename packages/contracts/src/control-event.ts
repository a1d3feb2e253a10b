import { z } from "zod";
import { Inspected } from "./inspected.js";
import { Float32Check } from "./results.js";
import { tauSchema, tauToJson } from "./tau.js";

export const PlannedTrial = z.object({ id: z.string(), tau: tauSchema, seed: z.number() });
export type PlannedTrial = z.output<typeof PlannedTrial>;

/** Trials that one trainer process trains together on one frozen base. */
export const Pack = z.object({ id: z.string(), trialIds: z.array(z.string()) });
export type Pack = z.infer<typeof Pack>;

export const Plan = z.object({
  sweepId: z.string(),
  name: z.string(),
  trials: z.array(PlannedTrial),
  packs: z.array(Pack),
});
export type Plan = z.output<typeof Plan>;

/** How training ended; nllPerToken is the macro validation nats per token at bestStep. */
export const TrialOutcome = z.object({
  steps: z.number(),
  bestStep: z.number(),
  ended: z.enum(["validation", "limit"]),
  nllPerToken: z.number(),
  float32Check: Float32Check.nullable().default(null), // events of before have none
});
export type TrialOutcome = z.infer<typeof TrialOutcome>;

const Domain = z.enum(["user", "oom", "infra", "controller"]);
const failure = { code: z.string(), domain: Domain, message: z.string(), hint: z.string() };
const trialIds = z.array(z.string());
const attempt = { runId: z.string(), attempt: z.number() };

/** A decision of the controller, one stream a sweep, numbered like a run's events and kept in the same table. */
export const ControlEvent = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("sweep_planned"), plan: Plan, experiment: z.unknown(), inspected: Inspected }),
  z.object({
    kind: z.literal("trial_adopted"), // finished by another sweep of this store
    trialId: z.string(),
    fromSweepId: z.string(),
    runId: z.string(),
    outcome: TrialOutcome,
  }),
  z.object({ kind: z.literal("trials_queued"), trialIds }),
  z.object({
    kind: z.literal("lease_granted"),
    ...attempt,
    trainerId: z.string(),
    trialIds,
    leaseMs: z.number(),
    firstSeq: z.number(),
    resumeStep: z.number(),
  }),
  z.object({ kind: z.literal("lease_expired"), ...attempt }),
  z.object({ kind: z.literal("attempt_failed"), ...attempt, ...failure, retryAtMs: z.number().nullable() }),
  z.object({ kind: z.literal("pack_split"), runId: z.string(), packs: z.array(Pack) }),
  z.object({ kind: z.literal("trials_failed"), trialIds, ...failure }),
  z.object({ kind: z.literal("metrics_missing"), trialIds, runId: z.string(), lastSeq: z.number() }),
  z.object({ kind: z.literal("trials_requeued"), trialIds, reason: z.enum(["resume", "retry"]) }),
  z.object({ kind: z.literal("paused"), code: z.string(), reason: z.string() }),
  z.object({ kind: z.literal("resumed") }),
  z.object({ kind: z.literal("drain_requested") }),
  z.object({ kind: z.literal("cancel_requested") }),
  z.object({ kind: z.literal("trials_cancelled"), trialIds }),
  z.object({ kind: z.literal("artifacts_fetched"), trialId: z.string().nullable(), runId: z.string() }), // null: the base model's
  z.object({
    kind: z.literal("results_lost"), // of a trial that was done, or the base model's (null): nobody has its files whole
    trialId: z.string().nullable(),
    runId: z.string(),
    ...failure,
  }),
  z.object({
    kind: z.literal("sweep_ended"),
    outcome: z.enum(["done", "failed", "stopped", "interrupted", "cancelled"]),
  }),
]);
export type ControlEvent = z.output<typeof ControlEvent>;

/** JSON text of a control event; infinity goes through tauToJson. */
export function encodeControlEvent(event: ControlEvent): string {
  return JSON.stringify(event, (key, value: unknown) =>
    key === "tau" && typeof value === "number"
      ? tauToJson(value)
      : key === "taus" && Array.isArray(value)
        ? value.map((tau: unknown) => (typeof tau === "number" ? tauToJson(tau) : tau))
        : value,
  );
}

export const decodeControlEvent = (text: string): ControlEvent => ControlEvent.parse(JSON.parse(text));

/** The reserved run id of a sweep's control stream. */
export const controlStream = (sweepId: string): string => `control:${sweepId}`;
