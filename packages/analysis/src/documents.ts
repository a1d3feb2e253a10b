import { BoraError, type DocumentRow } from "@bora/contracts";
import { z } from "zod";

const Line = z.object({
  model: z.enum(["task", "prior-mean", "base"]),
  task: z.string(),
  split: z.enum(["validation", "test"]),
  document: z.string(),
  date: z.string().nullable().default(""),
  tokens: z.int().min(1),
  characters: z.int().min(0),
  nats: z.number().min(0),
});

/** Whose documents a file holds; null for the base model. */
export type ScoredTrial = { id: string; tau: number; seed: number } | null;

function parseLine(text: string, line: number, owner: string): z.output<typeof Line> {
  try {
    return Line.parse(JSON.parse(text));
  } catch (cause) {
    throw new BoraError("artifact_corrupt", `line ${line} of the documents of ${owner} is not a scored document`, {
      hint: "the file was changed or damaged: retry the trial, or remove its folder and run the experiment again",
      cause,
    });
  }
}

/** The rows of a trainer's documents.jsonl: nats and scored tokens a document. Throws artifact_corrupt. */
export function documentRows(jsonLines: string, trial: ScoredTrial): DocumentRow[] {
  const owner = trial === null ? "the base model" : `trial ${trial.id}`;
  return jsonLines
    .split("\n")
    .map((text, index) => ({ text, line: index + 1 }))
    .filter(({ text }) => text !== "")
    .map(({ text, line }) => {
      const { date, ...scored } = parseLine(text, line, owner);
      return {
        ...scored,
        date: date ?? "",
        trial: trial?.id ?? "",
        tau: trial?.tau ?? null,
        seed: trial?.seed ?? null,
      };
    });
}
