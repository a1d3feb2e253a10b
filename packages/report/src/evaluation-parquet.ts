import type { DocumentRow } from "@bora/contracts";
import { parquetWriteBuffer } from "hyparquet-writer";

/** An adapter that was scored, and its documents. */
export interface ScoredAdapter {
  name: string;
  path: string | null; // null: the base model
  rows: readonly DocumentRow[];
}

/**
 * documents.parquet of an evaluation: a row for each document and adapter, in the order of the adapters. folder is empty
 * for the base model; nats are natural logarithms summed over the scored tokens.
 */
export function evaluationParquet(adapters: readonly ScoredAdapter[]): Uint8Array {
  const rows = adapters.flatMap(({ name, path, rows: own }) =>
    own.map((row) => ({ ...row, adapter: name, folder: path ?? "" })),
  );
  const text = (name: "adapter" | "folder" | "task" | "document" | "date") =>
    ({ name, data: rows.map((row) => row[name]), type: "STRING", nullable: false }) as const;
  const count = (name: "tokens" | "characters") =>
    ({ name, data: Int32Array.from(rows, (row) => row[name]), type: "INT32", nullable: false }) as const;
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        ...[text("adapter"), text("folder"), text("task"), text("document"), text("date")],
        ...[count("tokens"), count("characters")],
        { name: "nats", data: Float64Array.from(rows, ({ nats }) => nats), type: "DOUBLE", nullable: false },
      ],
    }),
  );
}
