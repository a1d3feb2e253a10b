import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, parseTau, tauToJson, type DocumentRow } from "@bora/contracts";
import { z } from "zod";

const tauOrNone = z.unknown().transform((tau) => (tau === null ? null : parseTau(tau)));

/** A row as the controller's JSON lines hold it. */
const Row = z.object({
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
  const bytes = await readFile(path).catch(() => null);
  if (bytes === null) return null;
  const parquet = await import("@bora/report/documents-parquet"); // most programs read no documents, and this draws nothing
  try {
    return await parquet.readDocuments(bytes);
  } catch (cause) {
    throw new BoraError("artifact_corrupt", `${path} (${bytes.length} bytes) holds no rows of this version`, {
      hint: "run the sweep again: its files are written anew, nothing is trained",
      cause,
    });
  }
}

/** A row as a line of JSON; infinity is "inf". */
export const encodeDocument = ({ tau, ...row }: DocumentRow): string =>
  JSON.stringify({ ...row, tau: tau === null ? null : tauToJson(tau) });

export const decodeDocument = (line: string): DocumentRow => Row.parse(JSON.parse(line));
