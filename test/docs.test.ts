import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { experimentJsonSchema, parseExperiment } from "@bora/contracts";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { experiment, makeFolder, openFolder } from "../packages/sdk/src/temporary-lab.fixture.js";
import { prepareFolder, runBlock } from "./fixtures/run-block.js";
import { blocksOf, complaintsAbout, pagesOf } from "./tools/code-blocks.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const pages = pagesOf(root);
const generated = readdirSync(join(root, "docs/sdk")).map((file) => `docs/sdk/${file}`);
const programs = pages.flatMap((page) => blocksOf(root, page, "ts"));
const validate = new Ajv2020({ strict: false }).compile(JSON.parse(experimentJsonSchema()) as object);

describe("documents", () => {
  it("hold experiments that the program accepts, and so does the schema for editors", () => {
    const experiments = pages.flatMap((page) => blocksOf(root, page, "yaml"));
    expect(experiments.length).toBeGreaterThan(0);
    for (const { text } of experiments) {
      const input: unknown = parseYaml(text);
      parseExperiment(input);
      expect(validate(input), JSON.stringify(validate.errors)).toBe(true);
    }
  });

  it("link to what exists", () => {
    const broken = [...pages, ...generated].flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
        .map((match) => join(page, "..", match[1] ?? ""))
        .filter((target) => !existsSync(join(root, target)))
        .map((target) => `${page} -> ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it("show every package in the README's tree", () => {
    const tree = blocksOf(root, "README.md", "text")
      .map(({ text }) => text)
      .join("\n");
    for (const name of readdirSync(join(root, "packages"))) expect(tree).toMatch(new RegExp(`^  ${name}/ `, "m"));
  });
});

describe("programs in documents", () => {
  it("compile", () => {
    expect(programs.length).toBeGreaterThan(3);
    expect(complaintsAbout(programs, join(root, "test"))).toEqual([]);
  });

  it("that are quick run, on a finished sweep", async () => {
    const { dir, out, scripted } = await makeFolder();
    prepareFolder(dir);
    {
      await using lab = openFolder(out, scripted());
      await (await lab.sweep(experiment())).result();
    }
    const quick = programs.filter(({ kind }) => kind === "quick");
    expect(quick.length).toBeGreaterThan(1);
    for (const block of quick) expect(await runBlock(block, dir), block.text).not.toBe("");
    expect(readFileSync(join(dir, "perplexity.svg"), "utf8")).toMatch(/^<svg/);
    await rm(dir, { recursive: true });
  }, 60_000);
});
