import type { DocumentRow } from "@bora/contracts";
import { parquetWriteBuffer } from "hyparquet-writer";
import { z } from "zod";
import { decodeParquet } from "./decode-parquet.js";

const models = ["task", "prior-mean", "base"];

/** By model, tau and seed; within a trial as the trainer wrote them. */
function inOrder(rows: readonly DocumentRow[]): DocumentRow[] {
  const rank = (a: number, b: number) => (a === b ? 0 : a < b ? -1 : 1);
  return rows.toSorted(
    (a, b) =>
      rank(models.indexOf(a.model), models.indexOf(b.model)) ||
      rank(a.tau ?? -1, b.tau ?? -1) ||
      rank(a.seed ?? -1, b.seed ?? -1) ||
      (a.trial === b.trial ? 0 : a.trial < b.trial ? -1 : 1),
  );
}

/**
 * documents.parquet: a row for each document and model, with the columns of DocumentRow. tau (infinity is infinity) and
 * seed are null for the base model; nats are natural logarithms summed over the scored tokens.
 */
export function documentsParquet(rows: readonly DocumentRow[]): Uint8Array {
  const ordered = inOrder(rows);
  const text = (name: "model" | "trial" | "task" | "split" | "document" | "date") =>
    ({ name, data: ordered.map((row) => row[name]), type: "STRING", nullable: false }) as const;
  const count = (name: "tokens" | "characters") =>
    ({ name, data: Int32Array.from(ordered, (row) => row[name]), type: "INT32", nullable: false }) as const;
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        text("model"),
        text("trial"),
        { name: "tau", data: ordered.map(({ tau }) => tau), type: "DOUBLE", nullable: true },
        {
          name: "seed",
          data: ordered.map(({ seed }) => (seed === null ? null : BigInt(seed))),
          type: "INT64",
          nullable: true,
        },
        text("task"),
        text("split"),
        text("document"),
        text("date"),
        count("tokens"),
        count("characters"),
        { name: "nats", data: Float64Array.from(ordered, ({ nats }) => nats), type: "DOUBLE", nullable: false },
      ],
    }),
  );
}

const Row = z.object({
  model: z.enum(["task", "prior-mean", "base"]),
  trial: z.string(),
  tau: z.number().min(0).or(z.literal(Infinity)).nullable(),
  seed: z.coerce.number().nullable(),
  task: z.string(),
  split: z.enum(["validation", "test"]),
  document: z.string(),
  date: z.string(),
  tokens: z.int().min(1),
  characters: z.int().min(0),
  nats: z.number().min(0),
});

/** The rows of a documents.parquet. Rejects when it is damaged or has other columns. */
export async function readDocuments(bytes: Uint8Array): Promise<DocumentRow[]> {
  return z.array(Row).parse(await decodeParquet(bytes));
}
