import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { experimentJsonSchema, parseExperiment } from "@bora/contracts";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const blocks = (file: string, language: string): string[] =>
  [...read(file).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map((match) => match[1] ?? "");
const pages = [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`),
];
const validate = new Ajv2020({ strict: false }).compile(JSON.parse(experimentJsonSchema()) as object);

describe("documents", () => {
  it("hold experiments that the program accepts, and so does the schema for editors", () => {
    const experiments = pages.flatMap((page) => blocks(page, "yaml"));
    expect(experiments.length).toBeGreaterThan(0);
    for (const text of experiments) {
      const input: unknown = parseYaml(text);
      parseExperiment(input);
      expect(validate(input), JSON.stringify(validate.errors)).toBe(true);
    }
  });

  it("link to what exists", () => {
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
        .map((match) => join(page, "..", match[1] ?? ""))
        .filter((target) => !existsSync(join(root, target)))
        .map((target) => `${page} -> ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it("show every package in the README's tree", () => {
    const tree = blocks("README.md", "text").join("\n");
    for (const name of readdirSync(join(root, "packages"))) expect(tree).toMatch(new RegExp(`^  ${name}/ `, "m"));
  });
});
