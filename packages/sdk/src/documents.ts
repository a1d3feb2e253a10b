import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isMissing, parseTau, tauToJson, type DocumentRow } from "@bora/contracts";
import { z } from "zod";
import { corruptFile } from "./out-folder.js";

const tauOrNone = z.unknown().transform((tau) => (tau === null ? null : parseTau(tau)));

/** A row as the controller's JSON holds it. */
export const DocumentRowJson = z.object({
  model: z.enum(["task", "prior-mean", "base"]),
  trial: z.string(),
  tau: tauOrNone,
  seed: z.number().nullable(),
  task: z.string(),
  split: z.enum(["validation", "test"]),
  document: z.string(),
  date: z.string(),
  tokens: z.number(),
  characters: z.number(),
  nats: z.number(),
}) satisfies z.ZodType<DocumentRow>;

/** The rows of a sweep's documents.parquet, null when it is not there. Throws artifact_corrupt. */
export async function readDocuments(folder: string): Promise<DocumentRow[] | null> {
  const path = join(folder, "documents.parquet");
  const bytes = await readFile(path).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  if (bytes === null) return null;
  const parquet = await import("@bora/report/documents-parquet"); // most programs read no documents, and this draws nothing
  return parquet.readDocuments(bytes).catch((cause: unknown) => {
    throw corruptFile(path, `${bytes.length} bytes, ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  });
}

/** A row as a line of JSON; infinity is "inf". */
export const encodeDocument = ({ tau, ...row }: DocumentRow): string =>
  JSON.stringify({ ...row, tau: tau === null ? null : tauToJson(tau) });

export const decodeDocument = (line: string): DocumentRow => DocumentRowJson.parse(JSON.parse(line));
