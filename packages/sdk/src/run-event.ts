import { BoraError, isErrorCode, wire, type ErrorDomain } from "@bora/contracts";
import { z } from "zod";

const trialId = z.string();
const natsPerToken = z.number().nullable().describe("null when it was not finite: JSON has no NaN");
const artifact = z.object({ path: z.string(), size: z.number(), sha256: z.string() }).nullable();
const failure = z.object({
  code: z.string(),
  domain: z.enum(["user", "oom", "infra", "controller"]),
  message: z.string(),
  hint: z.string(),
});
const taskNats = z.object({ task: z.number(), nats: z.number().nullable(), tokens: z.number() });

/** A trainer's event with plain numbers and words, as JSON lines and server-sent events carry it. */
export const RunEvent = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("run_started"),
    step: z.number(),
    rows: z.number(),
    parametersPerRow: z.number(),
    stepsPerEpoch: z.number(),
    device: z.string(),
    dtype: z.enum(["auto", "float32", "bfloat16"]),
    dtypeReason: z.string(),
    threads: z.number(),
    versions: z.record(z.string(), z.string()),
    prefixCache: z.string().describe("hidden states kept below the adapted layers, or why not; empty: no such layers"),
  }),
  z.object({
    kind: z.literal("prefix_cache_filled"),
    tokens: z.number(), // whose hidden states are there
    ofTokens: z.number(),
    seconds: z.number(),
  }),
  z.object({
    kind: z.literal("steps_done"),
    step: z.number(),
    steps: z.number(),
    tokens: z.number(), // scored, over all rows of the window
    seconds: z.number(), // of training, evaluation excluded
    real: z.number(), // tokens read, scored or not
    padded: z.number(), // cells computed that hold none
    fits: z.array(z.object({ trialId, natsPerToken })),
  }),
  z.object({
    kind: z.literal("evaluated"),
    trialId, // empty for the base model
    scored: z.enum(["task", "prior-mean", "base"]),
    split: z.enum(["train", "validation", "test"]),
    step: z.number(),
    tasks: z.array(taskNats),
    natsPerToken, // macro: mean over tasks
    best: z.boolean(),
    complete: z.boolean(),
    seconds: z.number(),
  }),
  z.object({ kind: z.literal("checkpoint_saved"), step: z.number(), artifact }),
  z.object({
    kind: z.literal("micro_batch_halved"),
    step: z.number(),
    rowsPerMicroBatch: z.number(),
    evaluationTokens: z.number(),
    message: z.string(), // of the allocator
  }),
  z.object({
    kind: z.literal("trial_done"),
    trialId,
    steps: z.number(),
    bestStep: z.number(),
    ended: z.enum(["validation", "limit"]),
    validationNatsPerToken: natsPerToken,
  }),
  z.object({ kind: z.literal("trial_failed"), trialId, step: z.number(), failure }),
  z.object({ kind: z.literal("run_done"), seconds: z.number(), peakMemoryBytes: z.number() }),
  z.object({ kind: z.literal("run_failed"), drained: z.boolean(), failure }),
]);
export type RunEvent = z.infer<typeof RunEvent>;
type Kind<K extends RunEvent["kind"]> = Extract<RunEvent, { kind: K }>;

const domains: Record<number, ErrorDomain> = {
  [wire.Domain.USER]: "user",
  [wire.Domain.OOM]: "oom",
  [wire.Domain.INFRA]: "infra",
  [wire.Domain.CONTROLLER]: "controller",
};
const scoredWords = {
  [wire.Scored.TASK]: "task",
  [wire.Scored.PRIOR_MEAN]: "prior-mean",
  [wire.Scored.BASE]: "base",
} as const;
const splitWords = {
  [wire.Split.TRAIN]: "train",
  [wire.Split.VALIDATION]: "validation",
  [wire.Split.TEST]: "test",
} as const;
const dtypeWords = {
  [wire.Dtype.AUTO]: "auto",
  [wire.Dtype.FLOAT32]: "float32",
  [wire.Dtype.BFLOAT16]: "bfloat16",
} as const;
const endedWords = { [wire.Ended.VALIDATION]: "validation", [wire.Ended.LIMIT]: "limit" } as const;

function word<W extends string>(words: Readonly<Record<number, W>>, value: number, field: string): W {
  const found = words[value];
  if (found !== undefined) return found;
  throw new BoraError("api_mismatch", `a trainer's event has ${field} = ${value}, which this version does not know`, {
    hint: "run a trainer of the same version as the control plane",
  });
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** A time that a trainer made up is none: JSON would have no word for it, and no reader would take the event. */
const duration = (seconds: number): number => finite(seconds) ?? 0;

function failureOf(wireFailure: wire.Failure | undefined): z.infer<typeof failure> {
  const { code = "internal", domain = wire.Domain.INFRA, message = "", hint = "" } = wireFailure ?? {};
  return { code: isErrorCode(code) ? code : "internal", domain: word(domains, domain, "domain"), message, hint };
}

const artifactOf = (file: wire.Artifact | undefined): z.infer<typeof artifact> =>
  file === undefined ? null : { path: file.path, size: Number(file.size), sha256: file.sha256 };

function started(body: wire.RunStarted): Kind<"run_started"> {
  const { device = "", dtype = wire.Dtype.AUTO, dtypeReason = "", threads = 0 } = body.execution ?? {};
  const { step, rows, parametersPerRow, stepsPerEpoch, versions, prefixCache } = body;
  return {
    kind: "run_started",
    ...{ step, rows, parametersPerRow, stepsPerEpoch, versions, prefixCache },
    ...{ device, dtype: word(dtypeWords, dtype, "dtype"), dtypeReason, threads },
  };
}

function evaluated(body: wire.Evaluated, trial: string): Kind<"evaluated"> {
  const tasks = body.tasks.map(({ task, nats, tokens }) => ({ task, nats: finite(nats), tokens: Number(tokens) }));
  const perToken = body.tasks.filter(({ tokens }) => tokens > 0n).map(({ nats, tokens }) => nats / Number(tokens));
  return {
    kind: "evaluated",
    trialId: trial,
    scored: word(scoredWords, body.scored, "scored"),
    split: word(splitWords, body.split, "split"),
    step: body.step,
    tasks,
    natsPerToken: finite(perToken.reduce((sum, nats) => sum + nats, 0) / perToken.length),
    best: body.best,
    complete: body.complete,
    seconds: duration(body.seconds),
  };
}

function stepsDone({ step, steps, tokens, seconds, fits, real, padded }: wire.StepsDone): Kind<"steps_done"> {
  const progress = fits.map((fit) => ({ trialId: fit.trialId, natsPerToken: finite(fit.natsPerToken) }));
  const counts = { tokens: Number(tokens), real: Number(real), padded: Number(padded) };
  return { kind: "steps_done", step, steps, ...counts, seconds: duration(seconds), fits: progress };
}

function trialDone(body: wire.TrialDone, trial: string): Kind<"trial_done"> {
  const { steps, bestStep } = body;
  const validationNatsPerToken = finite(body.validationNatsPerToken);
  const ended = word(endedWords, body.ended, "ended");
  return { kind: "trial_done", trialId: trial, steps, bestStep, ended, validationNatsPerToken };
}

/** A wire event in words. Throws api_mismatch for an event or an enum value of a newer trainer. */
export function runEvent(event: wire.Event): RunEvent {
  const { body, trialId: trial } = event;
  switch (body?.$case) {
    case "runStarted":
      return started(body.runStarted);
    case "prefixCacheFilled": {
      const { tokens, ofTokens, seconds } = body.prefixCacheFilled;
      const counts = { tokens: Number(tokens), ofTokens: Number(ofTokens) };
      return { kind: "prefix_cache_filled", ...counts, seconds: duration(seconds) };
    }
    case "stepsDone":
      return stepsDone(body.stepsDone);
    case "evaluated":
      return evaluated(body.evaluated, trial);
    case "checkpointSaved":
      return {
        kind: "checkpoint_saved",
        step: body.checkpointSaved.step,
        artifact: artifactOf(body.checkpointSaved.artifact),
      };
    case "trialDone":
      return trialDone(body.trialDone, trial);
    case "trialFailed":
      return {
        kind: "trial_failed",
        trialId: trial,
        step: body.trialFailed.step,
        failure: failureOf(body.trialFailed.failure),
      };
    case "runDone":
      return {
        kind: "run_done",
        seconds: duration(body.runDone.seconds),
        peakMemoryBytes: Number(body.runDone.peakMemoryBytes),
      };
    case "microBatchHalved":
      return { kind: "micro_batch_halved", ...body.microBatchHalved };
    case "runFailed":
      return { kind: "run_failed", drained: body.runFailed.drained, failure: failureOf(body.runFailed.failure) };
    case undefined:
      throw new BoraError("api_mismatch", `event ${event.seq} of run ${event.runId} has a body this version lacks`, {
        hint: "run a trainer of the same version as the control plane",
      });
    default:
      return body satisfies never;
  }
}
