// A worker: bytes of a Parquet file in, its rows out. In plain JavaScript, so that it also runs where only sources are.
import { parentPort, workerData } from "node:worker_threads";
import { parquetMetadata, parquetReadObjects, parquetSchema } from "hyparquet";

/** @type {ArrayBuffer} */
const file = workerData;
const metadata = parquetMetadata(file);
const names = parquetSchema(metadata).children.map(({ element: { name } }) => name);
/** @type {Record<string, unknown>[]} */
const rows = [];
for (const { num_rows } of metadata.row_groups) {
  const from = rows.length;
  const range = { rowStart: from, rowEnd: from + Number(num_rows) };
  // One column at a time: hyparquet leaves the rejections of all damaged ones but the first unhandled.
  for (const name of names) {
    const column = await parquetReadObjects({ ...{ file, metadata, columns: [name] }, ...range });
    for (const [place, cell] of column.entries()) rows[from + place] = Object.assign(rows[from + place] ?? {}, cell);
  }
}
parentPort?.postMessage(rows);
