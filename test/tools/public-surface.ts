import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";

/** A name that a package exports, and what is promised under it. */
export interface PublicName {
  name: string;
  isValue: boolean; // something a program calls or reads; otherwise a type alone
  text: string; // its declaration without comments, or where it comes from
}

/** What one door of a package exports: "@bora/sdk", or "@bora/report/figures". */
export interface Door {
  door: string;
  names: PublicName[];
}

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  skipLibCheck: true,
  types: ["node"],
};
const printer = ts.createPrinter({ removeComments: true });

/** The declaration files behind a package's `exports`, by door. */
function declarationsOf(folder: string): [string, string][] {
  const { name, exports = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    name: string;
    exports?: Record<string, { types?: string }>;
  };
  return Object.entries(exports).flatMap(([path, { types }]) =>
    types === undefined ? [] : [[name + path.slice(1), join(folder, types)]],
  );
}

const isPrivate = (member: ts.ClassElement): boolean =>
  ts.canHaveModifiers(member) &&
  (ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword) ?? false);

/** A class shows what others may use of it. */
function withoutPrivate(node: ts.Node): ts.Node {
  if (!ts.isClassDeclaration(node)) return node;
  const members = node.members.filter((member) => !isPrivate(member) && !ts.isPrivateIdentifier(member.name ?? node));
  const { modifiers, name, typeParameters, heritageClauses } = node;
  return ts.factory.updateClassDeclaration(node, modifiers, name, typeParameters, heritageClauses, members);
}

const whole =
  ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.InTypeAlias | ts.TypeFormatFlags.MultilineObjectLiterals;

/** The compiler lists the words of a union as it met them, which changes with code elsewhere. */
const sortedWords = (text: string): string =>
  text.replaceAll(/"[\w-]+"(?: \| "[\w-]+")+/g, (words) => words.split(" | ").sort().join(" | "));

/** What a zod schema reads, or for its constant that it is a schema: its own type says the same in ten times the lines. */
function schemaText(found: ts.Declaration, symbol: ts.Symbol, checker: ts.TypeChecker): string | undefined {
  if (ts.isVariableDeclaration(found) && /^z\.Zod/.test(found.type?.getText() ?? ""))
    return `const ${symbol.name}: schema;`;
  const [named, read] = ts.isInterfaceDeclaration(found)
    ? ["interface", found.heritageClauses?.[0]?.types[0]]
    : ["type", ts.isTypeAliasDeclaration(found) ? found.type : undefined];
  if (read === undefined || !/^z\.(output|input|infer)</.test(read.getText())) return undefined;
  const type = sortedWords(checker.typeToString(checker.getTypeAtLocation(read), found, whole)).replaceAll(
    /import\("[^"]*"\)\./g, // where the compiler found a name is a path of this machine
    "",
  );
  return named === "interface" ? `interface ${symbol.name} ${type}` : `type ${symbol.name} = ${type};`;
}

function textOf(symbol: ts.Symbol, folder: string, checker: ts.TypeChecker): string {
  const texts = (symbol.declarations ?? []).map((found) => {
    const file = found.getSourceFile();
    const home = /packages\/([^/]+)\//.exec(relative(join(folder, "../.."), file.fileName))?.[1];
    if (home !== undefined && !file.fileName.startsWith(`${folder}/`)) return `from @bora/${home}`;
    if (ts.isSourceFile(found)) return "namespace";
    const schema = schemaText(found, symbol, checker);
    if (schema !== undefined) return schema;
    const declared = ts.isVariableDeclaration(found) ? found.parent.parent : found;
    return printer
      .printNode(ts.EmitHint.Unspecified, withoutPrivate(declared), file)
      .replace(/^export (declare )?/, "");
  });
  return [...new Set(texts)].join("\n");
}

/** Everything that every package of the workspace exports, from the declarations that `tsc` wrote. */
export function publicSurface(root: string): Door[] {
  const packages = readdirSync(join(root, "packages")).sort();
  const doors = packages.flatMap((name) => declarationsOf(join(root, "packages", name)));
  const shown = new Map<ts.Symbol, string>(); // the door that shows a declaration, where several export it
  const program = ts.createProgram({ rootNames: doors.map(([, file]) => file), options });
  const checker = program.getTypeChecker();
  return doors.map(([door, file]) => {
    const source = program.getSourceFile(file);
    const module = source === undefined ? undefined : checker.getSymbolAtLocation(source);
    if (module === undefined) throw new Error(`${file} is not there: build first`);
    const folder = join(root, "packages", door.split("/")[1] ?? "");
    const names = checker.getExportsOfModule(module).map((symbol) => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      const typeOnly = symbol.declarations?.some(ts.isTypeOnlyExportDeclaration) ?? false;
      const isValue = (target.flags & ts.SymbolFlags.Value) !== 0 && !typeOnly;
      const other = shown.get(target);
      if (other !== undefined) return { name: symbol.name, isValue, text: `from ${other}` };
      shown.set(target, door);
      const text = textOf(target, folder, checker);
      return { name: symbol.name, isValue, text: isValue ? text : text.replace(/^const .*: schema;\n/, "") };
    });
    return { door, names: names.sort((a, b) => (a.name < b.name ? -1 : 1)) };
  });
}

const count = (many: number, what: string): string => `${many} ${what}${many === 1 ? "" : "s"}`;

function section({ door, names }: Door): string {
  const values = names.filter(({ isValue }) => isValue);
  const head = `## ${door}\n\n${count(values.length, "value")}, ${count(names.length - values.length, "type")}.`;
  const shown = names.map(({ name, text }) =>
    text.startsWith("from @") || text === "namespace" ? `// ${name}: ${text}` : text,
  );
  return `${head}\n\n\`\`\`ts\n${shown.join("\n")}\n\`\`\`\n`;
}

/** api.md: a change in what a package promises is a change in this file. */
export const surfaceText = (doors: readonly Door[]): string =>
  `# Public surface

What every package exports, written by \`npm run generate\` from the declarations; a change here is a change for whoever
imports it. \`@bora/sdk\` is the one for programs ([docs/sdk.md](docs/sdk.md)); the others are the rooms behind it.

${doors.map(section).join("\n")}`;
