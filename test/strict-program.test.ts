import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const examples = readdirSync(`${root}examples`).filter((name) => name.endsWith(".ts"));

/** What a user's own configuration may ask for, none of which our packages ask of each other. */
const strictest: ts.CompilerOptions = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noPropertyAccessFromIndexSignature: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  skipLibCheck: false,
  noEmit: true,
  target: ts.ScriptTarget.ES2023,
  lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
  types: ["node"],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
};

test("a program that imports @bora/sdk alone compiles under the strictest options, and so does every example", () => {
  expect(examples).toEqual(expect.arrayContaining(["lora-against-rslora.ts", "new-task.ts", "tau-sweep.ts"]));
  const files = [`${root}test/fixtures/program.ts`, ...examples.map((name) => `${root}examples/${name}`)];
  expect(complaints(files, strictest)).toEqual([]);
});

test("a program that draws compiles, the plotting library's declarations unchecked", () => {
  const files = [`${root}test/fixtures/program-that-draws.ts`];
  expect(complaints(files, { ...strictest, skipLibCheck: true })).toEqual([]);
});

function complaints(files: string[], options: ts.CompilerOptions): string[] {
  const program = ts.createProgram(files, options);
  return ts.getPreEmitDiagnostics(program).map((one) => {
    const text = ts.flattenDiagnosticMessageText(one.messageText, "\n");
    return one.file === undefined ? text : `${one.file.fileName.slice(root.length)}: ${text}`;
  });
}
