import { ModelSpec } from "@bora/contracts";
import { z } from "zod";
import type { CallOptions } from "./abortable.js";

const name = z.string().min(1);
const ofTrial = { sweepId: name, trialId: name };

/** A model whose text is wanted. @internal */
export const TextSource = z.discriminatedUnion("at", [
  z.strictObject({ at: z.literal("base") }),
  z.strictObject({ at: z.literal("prior-mean"), ...ofTrial }),
  z.strictObject({ at: z.literal("task"), ...ofTrial, task: name.describe("its name, or its slug") }),
  z.strictObject({ at: z.literal("folder"), path: name.describe("on the machine where the trainer runs") }),
]);
/** A model whose text is wanted: the base, Theta or a task's adapter of a trial, or any folder in PEFT's format. */
export type TextSource = z.output<typeof TextSource>;

/** A prompt, and who continues it. @internal */
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
/**
 * A prompt, who continues it, and how tokens are drawn: `maxTokens` of each text, `temperature` 0 for the most probable
 * token, the same `seed` for the same texts.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- its name, in messages and pages
export interface GenerateRequest extends z.output<typeof GenerateRequest> {}

/** What one token adds to the text of a source. @internal */
export const GeneratedPiece = z.object({
  source: z.number(),
  text: z.string(),
  done: z.enum(["length", "end"]).nullable().describe("length: maxTokens or the context is full; end: the model's end"),
});
/** What one token adds to the text of a source (its index in the request); `done` on its last. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- its name, in messages and pages
export interface GeneratedPiece extends z.output<typeof GeneratedPiece> {}

/** What a program may hear of while texts or exports are made, and how it gives them up. */
export interface GenerateOptions extends CallOptions {
  /** What is going on before the first piece, in words. */
  onStage?: (text: string) => void;
}
