import { ModelSpec } from "@bora/contracts";
import { z } from "zod";

const name = z.string().min(1);
const ofTrial = { sweepId: name, trialId: name };

/** A model whose text is wanted: the base, Theta or a task's adapter of a trial, or any folder in PEFT's format. */
export const TextSource = z.discriminatedUnion("at", [
  z.strictObject({ at: z.literal("base") }),
  z.strictObject({ at: z.literal("prior-mean"), ...ofTrial }),
  z.strictObject({ at: z.literal("task"), ...ofTrial, task: name.describe("its name, or its slug") }),
  z.strictObject({ at: z.literal("folder"), path: name.describe("on the machine where the trainer runs") }),
]);
export type TextSource = z.output<typeof TextSource>;

export const GenerateRequest = z.strictObject({
  model: ModelSpec.optional().describe("needed only when no source names a sweep"),
  sources: z.array(TextSource).min(1).max(256),
  prompt: z.string(),
  seed: z.int().min(0).max(0xffffffff).describe("of every source's draws; the same seed gives the same texts"),
  maxTokens: z.int().min(1).max(1_000_000).describe("of each text"),
  temperature: z.number().min(0).describe("0: always the most probable token"),
  topP: z.number().gt(0).max(1).describe("draw among the most probable tokens that hold this much together"),
  topK: z.int().min(0).optional().describe("draw among so many; all when left out or 0"),
});
export type GenerateRequest = z.output<typeof GenerateRequest>;

/** What one token adds to the text of a source (its index in the request); `done` on its last. */
export const GeneratedPiece = z.object({
  source: z.number(),
  text: z.string(),
  done: z.enum(["length", "end"]).nullable().describe("length: maxTokens or the context is full; end: the model's end"),
});
export type GeneratedPiece = z.output<typeof GeneratedPiece>;

export interface GenerateOptions {
  /** Ends all texts. */
  signal?: AbortSignal;
  /** What is going on before the first piece, in words. */
  onStage?: (text: string) => void;
}
