import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { errorDomains, isErrorCode } from "@bora/contracts";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const pythonFiles = readdirSync(join(root, "trainer-py/src/bora_trainer"), {
  recursive: true,
  encoding: "utf8",
}).filter((file) => file.endsWith(".py"));
const python = pythonFiles.map((file) => read(join("trainer-py/src/bora_trainer", file))).join("\n");
const raisedInPython = new Set([...python.matchAll(/TrainerError\(\s*"([a-z_]+)"/g)].map((match) => match[1] ?? ""));

describe("error codes", () => {
  const documented = [...read("docs/errors.md").matchAll(/^## (\w+)\n\nDomain: (\w+)\./gm)].map(([, code, domain]) => [
    code,
    domain,
  ]);

  it("have one section each in docs/errors.md, with their domain", () => {
    expect(Object.fromEntries(documented)).toEqual(errorDomains);
  });

  it("of the trainer are all known to the control plane", () => {
    expect(raisedInPython.size).toBeGreaterThan(10);
    expect([...raisedInPython].filter((code) => !isErrorCode(code))).toEqual([]);
  });
});
