import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { experimentJsonSchema, readExperiment } from "@bora/contracts";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

const examples = new URL("../examples/", import.meta.url);
const schemaFile = new URL("../docs/experiment.schema.json", import.meta.url);
const names = readdirSync(examples).filter((name) => name.endsWith(".yaml"));

test("docs/experiment.schema.json is what `npm run generate` writes", () => {
  expect(readFileSync(schemaFile, "utf8")).toBe(experimentJsonSchema());
});

test("there are examples", () => {
  expect(names).toEqual(expect.arrayContaining(["shakespeare.yaml", "storting.yaml"]));
});

describe.each(names)("examples/%s", (name) => {
  const file = fileURLToPath(new URL(name, examples));

  test("is a valid experiment", async () => {
    await expect(readExperiment(file)).resolves.toMatchObject({ prior: { family: "gaussian" } });
  });

  test("passes the schema that editors use, and names it", () => {
    const text = readFileSync(file, "utf8");
    expect(text).toMatch(/^# yaml-language-server: \$schema=\.\.\/docs\/experiment\.schema\.json\n/);
    const schema: unknown = JSON.parse(readFileSync(schemaFile, "utf8"));
    const validate = new Ajv2020({ strict: false }).compile(schema as object);
    validate(parse(text));
    expect(validate.errors).toBeNull();
  });
});
