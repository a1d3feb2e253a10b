/** A JSON schema as Markdown: one row a field, nested fields under their path. */
export interface JsonSchema {
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  default?: unknown;
  description?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  prefixItems?: JsonSchema[];
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  additionalProperties?: JsonSchema | boolean;
}

const code = (value: unknown) => `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
const alternatives = (schema: JsonSchema): JsonSchema[] => schema.anyOf ?? schema.oneOf ?? [];

function typeOf(schema: JsonSchema): string {
  if (schema.enum) return schema.enum.map(code).join(", ");
  if (schema.const !== undefined) return code(schema.const);
  if (schema.prefixItems) return `[${schema.prefixItems.map(typeOf).join(", ")}]`;
  if (schema.items) return `list of ${typeOf(schema.items)}`;
  if (alternatives(schema).length > 0) return [...new Set(alternatives(schema).map(typeOf))].join(" or ");
  return [schema.type ?? "any"].flat().join(" or ");
}

interface Row {
  path: string;
  schema: JsonSchema;
  required: boolean;
  variants: Set<string>;
}

/** The objects behind a field: itself, the alternatives of a union, the elements of a list. */
function objectsOf(schema: JsonSchema): JsonSchema[] {
  if (schema.properties) return [schema];
  return [...alternatives(schema), ...(schema.items ? [schema.items] : [])].flatMap(objectsOf);
}

function collect(schema: JsonSchema, prefix: string, rows: Map<string, Row>): Map<string, Row> {
  for (const object of objectsOf(schema)) {
    const variant = object.properties?.["source"]?.const;
    for (const [name, field] of Object.entries(object.properties ?? {})) {
      const path = `${prefix}${name}`;
      const row = rows.get(path);
      const required = (object.required ?? []).includes(name) && field.default === undefined;
      const variants = new Set([...(row?.variants ?? []), ...(typeof variant === "string" ? [variant] : [])]);
      const merged = row === undefined || row.schema === field ? field : merge(row.schema, field);
      rows.set(path, { path, schema: merged, required, variants });
      collect(field, `${path}${field.items ? "[]" : ""}.`, rows);
    }
  }
  return rows;
}

/** The same field in several variants of a union: the constants are its values. */
function merge(one: JsonSchema, other: JsonSchema): JsonSchema {
  const values = [...(one.enum ?? [one.const]), ...(other.enum ?? [other.const])];
  return values.includes(undefined) ? one : { ...one, enum: [...new Set(values)] };
}

function line({ path, schema, required, variants }: Row, variantsOfParent: number): string {
  const only =
    variants.size > 0 && variants.size < variantsOfParent ? `with ${[...variants].map(code).join(", ")}` : "";
  const fallback = schema.default === undefined ? (required ? "required" : "") : code(schema.default);
  const meaning = [schema.description ?? "", only].filter((part) => part !== "").join("; ");
  return `| \`${path}\` | ${typeOf(schema)} | ${fallback} | ${meaning.replaceAll("|", "\\|")} |`;
}

export function fieldTable(schema: JsonSchema): string {
  const rows = collect(schema, "", new Map());
  const parent = (path: string) => path.slice(0, path.lastIndexOf(".") + 1);
  const variantsOf = (path: string) => rows.get(`${parent(path)}source`)?.variants.size ?? 0;
  const lines = [...rows.values()].map((row) => line(row, variantsOf(row.path)));
  return ["| field | type | default | meaning |", "| --- | --- | --- | --- |", ...lines].join("\n");
}
