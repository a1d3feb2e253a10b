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

/** Lines of tests that expect a code; a failure that a test only makes up to feed something is none. */
const expectations = ["packages", "test", "trainer-py/tests"]
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => !file.includes("node_modules") && /\.test\.tsx?$|(^|\/)test_\w+\.py$/.test(file))
      .flatMap((file) => read(join(folder, file)).split("\n")),
  )
  .filter((line) => /\bcode\b|\breason\b|error |match=|toThrow|expect|assert|: \("|", "/.test(line))
  .filter((line) => !/new BoraError\(|TrainerError\("|failure\("/.test(line));

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

  it.each(Object.keys(errorDomains))("%s is expected by a test", (code) => {
    const named = new RegExp(`(["'\`/ (^])${code}(?![\\w-])`);
    expect(expectations.filter((line) => named.test(line)).length).toBeGreaterThan(0);
  });
});
