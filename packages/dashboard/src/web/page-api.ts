import { tauSchema } from "@bora/contracts/tau";
import { z } from "zod";

// What the page and its server say to each other: one home for both. Runs in a browser, so it imports nothing of Node.

const number = z.number().nullable();
const Counts = z.object({ train: z.number(), validation: z.number(), test: z.number() });

export const Refusal = z.object({ error: z.object({ code: z.string(), message: z.string(), hint: z.string() }) });
export type Refusal = z.output<typeof Refusal>["error"];

export const Login = z.strictObject({ token: z.string().max(200) });

export const Session = z.object({ csrf: z.string(), folder: z.string() });
export type Session = z.output<typeof Session>;

/** What a sweep is at. left: it has work to do and nobody is at it; unknown: who is at it has not answered yet. */
export const Standing = z.enum([
  ...(["running", "paused", "draining", "cancelling", "left", "unknown"] as const),
  ...(["done", "failed", "stopped", "interrupted", "cancelled"] as const),
]);
export type Standing = z.output<typeof Standing>;

const Best = z.object({ tau: tauSchema, trialId: z.string(), perplexity: z.number() }).nullable();

export const SweepRow = z.object({
  sweepId: z.string(),
  name: z.string(),
  plannedAtMs: z.number(),
  lastAtMs: z.number(),
  standing: Standing,
  model: z.string(),
  tasks: z.number(),
  taus: z.number(),
  trials: z.object({ all: z.number(), ended: z.number(), failed: z.number() }),
  best: Best.describe("macro test perplexity of the best tau by validation"),
});
export type SweepRow = z.output<typeof SweepRow>;
export const SweepList = z.object({ sweeps: z.array(SweepRow) });

export const TrialRow = z.object({
  id: z.string(),
  tau: tauSchema,
  seed: z.number(),
  at: z.enum(["planned", "training", "stopped", "done", "failed", "cancelled", "adopted"]),
  train: number.describe("nats a token, macro, last window"),
  validation: number.describe("nats a token, macro, newest"),
  test: number.describe("macro perplexity"),
  bestStep: number,
  steps: number,
  ended: z.enum(["validation", "limit"]).nullable(),
  failure: z.string().nullable(),
});
export type TrialRow = z.output<typeof TrialRow>;

export const PackRow = z.object({
  number: z.number(),
  at: z.enum(["starting", "training", "waiting", "finished"]),
  trials: z.number(),
  rows: z.number(),
  attempt: z.number(),
  trainerId: z.string(),
  device: z.string(),
  step: z.number(),
  tokensPerSecond: z.number(),
  msLeft: number.describe("at most; null: not known"),
  lastAtMs: z.number(),
  plannedBytes: number,
  peakBytes: number,
  note: z.string(),
});
export type PackRow = z.output<typeof PackRow>;

export const TauRow = z.object({
  tau: tauSchema,
  seeds: z.number(),
  validation: number,
  test: number,
  micro: number,
  priorMean: number,
  againstIndependent: number,
  againstShared: number,
  best: z.boolean(),
});
export type TauRow = z.output<typeof TauRow>;

export const TaskRow = z.object({
  name: z.string(),
  slug: z.string(),
  documents: Counts,
  base: number,
  independent: number,
  best: number,
  shared: number,
  againstIndependent: number,
  againstShared: number,
});
export type TaskRow = z.output<typeof TaskRow>;

export const SweepView = z.object({
  sweepId: z.string(),
  name: z.string(),
  standing: Standing,
  paused: z.string().nullable(),
  reason: z.object({ code: z.string(), message: z.string(), hint: z.string() }).nullable(),
  position: z.number(),
  plannedAtMs: z.number(),
  lastAtMs: z.number(),
  maxSteps: z.number(),
  facts: z.array(z.tuple([z.string(), z.string()])).describe("what is run, in words"),
  packCount: z.number(),
  tokensPerSecond: z.number(),
  msLeft: number,
  trials: z.array(TrialRow),
  packs: z.array(PackRow),
  taus: z.array(TauRow),
  tasks: z.array(TaskRow),
  best: Best,
  base: number.describe("macro test perplexity"),
  sentences: z.array(z.string()),
  warnings: z.array(z.string()),
});
export type SweepView = z.output<typeof SweepView>;

export const EventLine = z.object({ position: z.number(), at: z.number(), kind: z.string(), text: z.string() });
export type EventLine = z.output<typeof EventLine>;
export const EventLines = z.object({ lines: z.array(EventLine), more: z.boolean() });

const Point = z.object({ tau: tauSchema, perplexity: z.number() });
export const PerplexityFigure = z.object({
  taus: z.array(tauSchema),
  overall: z.array(Point.extend({ band: z.tuple([z.number(), z.number()]).nullable() })),
  tasks: z.array(z.object({ name: z.string(), points: z.array(Point) })),
  base: number,
  best: tauSchema.nullable(),
});

/** Curves as columns: half the size of points, and a browser reads them at once. */
const CurveColumns = z.object({
  trial: z.string(),
  tau: tauSchema,
  seed: z.number(),
  bestStep: number,
  steps: z.array(z.number()),
  natsPerToken: z.array(z.number()),
});
export type CurveColumns = z.output<typeof CurveColumns>;

export const Figures = z.object({
  position: z.number(),
  perplexity: PerplexityFigure.nullable().describe("null while no trial is done"),
  validation: z.array(CurveColumns),
  train: z.array(CurveColumns),
  base: number.describe("validation, nats a token"),
});
export type Figures = z.output<typeof Figures>;

export const TaskView = z.object({
  name: z.string(),
  slug: z.string(),
  documents: Counts,
  scoredTokens: Counts,
  figure: PerplexityFigure.nullable(),
  best: tauSchema.nullable(),
  split: z.enum(["validation", "test"]),
  taus: z.array(tauSchema),
  scored: z.array(
    z.object({
      document: z.string(),
      date: z.string(),
      tokens: z.number(),
      base: number,
      natsPerToken: z.array(number).describe("at each of the taus, mean over seeds"),
    }),
  ),
  more: z.number().describe("documents that are not listed"),
});
export type TaskView = z.output<typeof TaskView>;

export const Comparison = z.object({
  sweeps: z.array(
    z.object({
      sweepId: z.string(),
      name: z.string(),
      facts: z.array(z.tuple([z.string(), z.string()])),
      figure: PerplexityFigure.nullable(),
      base: number,
      best: Best,
      independent: number,
      shared: number,
    }),
  ),
  tasks: z.array(z.object({ name: z.string(), best: z.array(number) })).describe("those that all sweeps have"),
  differences: z.array(z.string()).describe("against the first, in sentences with intervals"),
  warnings: z.array(z.string()),
});
export type Comparison = z.output<typeof Comparison>;

export const TrainerRow = z.object({
  trainerId: z.string(),
  address: z.string(),
  answers: z.boolean(),
  devices: z.array(
    z.object({ name: z.string(), description: z.string(), memoryBytes: z.number(), freeBytes: z.number() }),
  ),
  processes: z.number(),
  residentBytes: z.number(),
  cpuShare: number.describe("processors' time over wall time since the last look; null: looked once"),
  pack: PackRow.nullable(),
  sweepId: z.string().nullable(),
});
export type TrainerRow = z.output<typeof TrainerRow>;

export const Trainers = z.object({
  host: z.object({
    name: z.string(),
    processors: z.number(),
    load: z.number().describe("mean number of processes that want to run, last minute"),
    memoryBytes: z.number(),
    freeBytes: z.number(),
  }),
  trainers: z.array(TrainerRow),
});
export type Trainers = z.output<typeof Trainers>;

export const Command = z.discriminatedUnion("verb", [
  z.strictObject({ verb: z.literal("cancel") }),
  z.strictObject({ verb: z.literal("resume") }),
]);
export type Command = z.output<typeof Command>;

const name = z.string().min(1).max(200);
const trial = { sweepId: name, trialId: name };
export const TextSource = z.discriminatedUnion("at", [
  z.strictObject({ at: z.literal("base"), sweepId: name }),
  z.strictObject({ at: z.literal("prior-mean"), ...trial }),
  z.strictObject({ at: z.literal("task"), ...trial, task: name }),
]);
export type TextSource = z.output<typeof TextSource>;

export const mostSources = 12;
export const SpeakRequest = z.strictObject({
  sources: z.array(TextSource).min(1).max(mostSources),
  prompt: z.string().max(20_000),
  seed: z.int().min(0).max(0xffffffff),
  maxTokens: z.int().min(1).max(1_000),
  temperature: z.number().min(0).max(5),
  topP: z.number().gt(0).max(1),
});
export type SpeakRequest = z.output<typeof SpeakRequest>;

/** One line of the answer to a SpeakRequest. */
export const SpokenLine = z.union([
  z.object({ source: z.number(), text: z.string(), done: z.enum(["length", "end"]).nullable() }),
  Refusal,
]);

const inSweep = (sweepId: string, rest = ""): string => `/api/sweeps/${encodeURIComponent(sweepId)}${rest}`;

export const pagePaths = {
  login: "/api/login",
  logout: "/api/logout",
  session: "/api/session",
  openApi: "/api/openapi.json",
  sweeps: "/api/sweeps",
  sweep: (sweepId: string) => inSweep(sweepId),
  figures: (sweepId: string) => inSweep(sweepId, "/figures"),
  events: (sweepId: string) => inSweep(sweepId, "/events"),
  stream: (sweepId: string) => inSweep(sweepId, "/stream"),
  commands: (sweepId: string) => inSweep(sweepId, "/commands"),
  task: (sweepId: string, slug: string) => inSweep(sweepId, `/tasks/${encodeURIComponent(slug)}`),
  compare: "/api/compare",
  trainers: "/api/trainers",
  speak: "/api/speak",
} as const;

export const csrfHeader = "x-bora-csrf";
