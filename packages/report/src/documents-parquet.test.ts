import { describe, expect, it } from "vitest";
import { parquetTable } from "./data-table.js";
import { decodeParquet } from "./decode-parquet.js";
import { documentsParquet, readDocuments } from "./documents-parquet.js";
import { documentRows } from "./results.fixture.js";

describe("documents.parquet, read", () => {
  it("gives the rows back", async () => {
    const rows = await readDocuments(documentsParquet(documentRows));
    expect(new Set(rows)).toEqual(new Set(documentRows));
    expect(rows).toHaveLength(documentRows.length);
  });

  it.each([
    ["cut", (bytes: Uint8Array) => bytes.slice(0, bytes.length / 2)],
    ["empty", () => new Uint8Array()],
    [
      "something else",
      () =>
        parquetTable({
          name: "",
          title: "",
          columns: [{ name: "x", head: "", kind: "count" }],
          rows: [{ cells: [1] }],
        }),
    ],
  ])("is refused when it is %s", async (_, damage) => {
    await expect(readDocuments(damage(documentsParquet(documentRows)))).rejects.toThrow();
  });

  it("is refused when one byte of a page's head has its decoder run for minutes", async () => {
    const bytes = documentsParquet(documentRows.filter((_, index) => index % 8 === 0));
    bytes[248] = 1; // hyparquet 1.31 then repeats a value two thousand million times
    await expect(decodeParquet(bytes, 1_000)).rejects.toThrow("not decoded after 1 s");
    bytes[248] = 21;
    expect(await decodeParquet(bytes)).toHaveLength(documentRows.length / 8);
  });

  it("is refused once when it is damaged in many places: a rejection that nobody handles would end the process", async () => {
    const bytes = documentsParquet(documentRows);
    bytes.fill(0, 4, 12); // the head of the first column's page
    bytes[Buffer.from(bytes.buffer, bytes.byteOffset).lastIndexOf("trial")] = 0x78; // where the second column's name is kept
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    await expect(readDocuments(bytes)).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 10));
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });
});
