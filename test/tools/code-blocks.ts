import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

/**
 * A page's block of code. `slow` ones train, and run with the tests that have a trainer; `compiled` ones need what is
 * the reader's, so they are compiled alone.
 */
export interface CodeBlock {
  page: string;
  kind: "quick" | "slow" | "compiled";
  text: string;
}

/** The pages that people write; docs/sdk/ is generated, and its blocks are signatures. */
export const pagesOf = (root: string): string[] => [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`),
];

const blockOf = (language: string): RegExp =>
  new RegExp(`^\`\`\`${language}(?: (slow|compiled))?\\n([^]*?)^\`\`\``, "gm");

/** Blocks of a language, in order. */
export const blocksOf = (root: string, page: string, language: string): CodeBlock[] =>
  [...readFileSync(join(root, page), "utf8").matchAll(blockOf(language))].map(([, kind, text = ""]) => ({
    page,
    kind: kind === "slow" || kind === "compiled" ? kind : "quick",
    text,
  }));

const options: ts.CompilerOptions = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: true,
  noEmit: true,
  target: ts.ScriptTarget.ES2023,
  lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
  types: ["node"],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
};

/** What the compiler says of blocks, each a module of its own in `folder`; empty when all is well. */
export function complaintsAbout(blocks: readonly CodeBlock[], folder: string): string[] {
  const files = new Map(blocks.map((block, index) => [join(folder, `block-${index}.ts`), block]));
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (file) => files.has(file) || fileExists(file);
  host.readFile = (file) => files.get(file)?.text ?? readFile(file);
  host.getSourceFile = (file, ...rest) => {
    const block = files.get(file);
    return block === undefined ? getSourceFile(file, ...rest) : ts.createSourceFile(file, block.text, rest[0]);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => {
    const page = files.get(file?.fileName ?? "")?.page ?? file?.fileName ?? "";
    return `${page}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
  });
}
