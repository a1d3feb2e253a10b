import type { ExperimentSpec } from "@bora/contracts";

/** Whose adapters continue a prompt. */
export type TextSource =
  | { at: "base" }
  | { at: "prior-mean"; sweepId: string; trialId: string }
  | { at: "task"; sweepId: string; trialId: string; task: string }
  | { at: "folder"; path: string };

export interface GenerateRequest {
  model?: ExperimentSpec["model"];
  sources: TextSource[];
  prompt: string;
  seed: number;
  maxTokens: number;
  temperature: number;
  topP: number;
}

export interface GeneratedPiece {
  source: number; // place in the request
  text: string;
  done: null | "length" | "end";
}
