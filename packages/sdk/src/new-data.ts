import { extname, resolve } from "node:path";
import { BoraError, type ExperimentSpec } from "@bora/contracts";

type DataSpec = ExperimentSpec["data"];
type TableSpec = Extract<DataSpec, { source: "csv" | "jsonl" | "parquet" }>;
type ColumnsSpec = TableSpec["columns"];

/** A file of documents, with what differs from the columns of the sweep's own. */
export interface DataFile {
  path: string;
  format?: TableSpec["source"];
  /** `task: null`: the file has no column for it, all rows are of one task. */
  columns?: Partial<Omit<ColumnsSpec, "task" | "onlyTask">> & { task?: string | null };
}

const formats: Record<string, TableSpec["source"]> = {
  ".csv": "csv",
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".parquet": "parquet",
};

function formatOf({ path, format }: DataFile): TableSpec["source"] {
  const found = format ?? formats[extname(path).toLowerCase()];
  if (found !== undefined) return found;
  throw new BoraError("usage", `${path} does not say what it is: its name ends in ${extname(path) || "nothing"}`, {
    hint: `name a file that ends in ${Object.keys(formats).join(", ")}`,
  });
}

/** Columns of the sweep's own table; of the plays, which have none, the plainest names. */
function ownColumns(data: DataSpec): ColumnsSpec {
  if (data.source === "shakespeare") return { task: "task", text: "text" };
  if (data.source === "talk-of-norway") return { task: "rep_name", text: "text", id: "id", date: "date" };
  return data.columns;
}

function columnsOf(data: DataSpec, file: DataFile, onlyTask: string): ColumnsSpec {
  const { task, ...named } = file.columns ?? {};
  const { text, prompt, completion, ...own } = ownColumns(data);
  const asked = named.text !== undefined || named.prompt !== undefined || named.completion !== undefined;
  const scored = asked ? {} : { text, prompt, completion };
  const columns = { ...own, ...scored, ...named, ...(typeof task === "string" && { task }) };
  const present = Object.fromEntries(Object.entries(columns).filter(([, column]) => column !== undefined));
  return { ...present, task: columns.task, ...(task === null && { onlyTask }) };
}

/** The sweep's data with other documents: of the file where one is named, and of the tasks that `tasks` selects. */
export function dataOf(own: DataSpec, file: DataFile | undefined, tasks: DataSpec["tasks"], onlyTask = ""): DataSpec {
  if (file === undefined) return { ...own, tasks };
  const { split, maxTokens } = own;
  const source = formatOf(file);
  return { source, path: resolve(file.path), columns: columnsOf(own, file, onlyTask), tasks, split, maxTokens };
}
