import { readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { experimentJsonSchema } from "../src/experiment-file.js";
import { SweepResults } from "../src/results.js";
import { fieldTable, type JsonSchema } from "./field-table.js";

// What editors complete experiment files with, and the field tables of docs/; CI fails when they are not current.
const docs = new URL("../../../docs/", import.meta.url);

function writeTable(file: string, schema: JsonSchema): void {
  const at = new URL(file, docs);
  const [before, after] = readFileSync(at, "utf8").split(/<!-- fields -->[^]*<!-- end of fields -->/);
  if (after === undefined) throw new Error(`docs/${file} has no <!-- fields --> ... <!-- end of fields -->`);
  writeFileSync(at, `${before}<!-- fields -->\n\n${fieldTable(schema)}\n\n<!-- end of fields -->${after}`);
}

const experiment = experimentJsonSchema();
writeFileSync(new URL("experiment.schema.json", docs), experiment);
writeTable("experiment.md", JSON.parse(experiment) as JsonSchema);
writeTable("results.md", z.toJSONSchema(SweepResults, { unrepresentable: "any" }) as JsonSchema);
