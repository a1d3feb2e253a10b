import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { arrows } from "../eslint.config.js";

const root = fileURLToPath(new URL("..", import.meta.url));

const filesUnder = (folder: string, ending: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => join(folder, file));

const sources = [...filesUnder("packages", ".ts"), ...filesUnder("packages", ".tsx")].filter((file) =>
  /^packages\/[^/]+\/src\//.test(file),
);
const own = sources.filter((file) => !file.includes("/generated/"));
const importsOf = (file: string): string[] =>
  [...readFileSync(join(root, file), "utf8").matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map((match) => match[1] ?? "");
const packageOf = (file: string): string => file.split("/")[1] ?? "";

describe("the arrows between packages", () => {
  const allowed = new Map(Object.entries(arrows));

  it("name every package there is", () => {
    const names = readdirSync(join(root, "packages"));
    expect([...allowed.keys()].sort()).toEqual(names.sort());
  });

  it("hold in every source file", () => {
    const broken = own.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith("@bora/"))
        .filter((name) => !(allowed.get(packageOf(file)) ?? []).includes(name.split("/")[1] ?? ""))
        .map((name) => `${file} imports ${name}`),
    );
    expect(own.length).toBeGreaterThan(20);
    expect(broken).toEqual([]);
  });

  it("have no cycle", () => {
    const reach = (name: string, seen: readonly string[]): void => {
      expect(seen).not.toContain(name);
      for (const next of allowed.get(name) ?? []) reach(next, [...seen, name]);
    };
    for (const name of allowed.keys()) reach(name, []);
  });

  it("are declared as dependencies, and nothing else of ours is", () => {
    for (const [name, targets] of allowed) {
      const text = readFileSync(join(root, "packages", name, "package.json"), "utf8");
      const { dependencies } = JSON.parse(text) as { dependencies: Record<string, string> };
      const declared = Object.keys(dependencies).filter((key) => key.startsWith("@bora/"));
      for (const key of declared) expect(targets, `${name} declares ${key}`).toContain(key.slice("@bora/".length));
    }
  });

  it("lead to another package only by its name", () => {
    const broken = own.flatMap((file) =>
      importsOf(file)
        .filter((name) => /(\.\.\/)+[^/]+\/src\//.test(name))
        .map((name) => `${file}: ${name}`),
    );
    expect(broken).toEqual([]);
  });
});

describe("the arrows inside the trainer", () => {
  const folder = "trainer-py/src/bora_trainer";
  const text = (file: string): string => readFileSync(join(root, folder, file), "utf8");
  const imported = (file: string): string[] =>
    [...text(file).matchAll(/^(?:from|import)\s+([\w.]+)/gm)].map((match) => match[1] ?? "");
  const reachable = (start: string): Set<string> => {
    const seen = new Set<string>();
    const visit = (module: string): void => {
      if (seen.has(module)) return;
      seen.add(module);
      if (!/^bora_trainer\b/.test(module)) return; // Python's own inspect is not ours
      const path = module.replace(/^bora_trainer\.?/, "").replaceAll(".", "/");
      const file = [`${path}.py`, `${path}/__init__.py`].find((candidate) => filesInTrainer.has(candidate));
      if (file !== undefined) imported(file).forEach(visit);
    };
    visit(start);
    return seen;
  };
  const filesInTrainer = new Set(filesUnder(folder, ".py").map((file) => file.slice(folder.length + 1)));

  it("keep torch out of the server", () => {
    const modules = [...reachable("bora_trainer.server"), ...reachable("bora_trainer.__main__")];
    expect(modules).toContain("grpc");
    expect(modules.filter((module) => /^(torch|transformers|peft)\b/.test(module))).toEqual([]);
  });

  it("keep gRPC out of the process that trains", () => {
    const modules = [...reachable("bora_trainer.child")];
    expect(modules.length).toBeGreaterThan(5);
    expect(modules.filter((module) => /^grpc/.test(module))).toEqual([]);
  });
});

describe("the house", () => {
  const code = [...own, ...filesUnder("trainer-py/src/bora_trainer", ".py")];

  it("has no file past 400 lines", () => {
    expect(code.filter((file) => readFileSync(join(root, file), "utf8").split("\n").length > 400)).toEqual([]);
  });

  it("has no name that says nothing", () => {
    expect(code.filter((file) => /(^|\/)(utils?|common|helpers?|misc|core)(\/|\.[a-z]+$)/.test(file))).toEqual([]);
  });

  it("lets only the command line end the process", () => {
    const exits = own.filter(
      (file) => packageOf(file) !== "orchestrator" && /process\.exit\(/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(exits).toEqual([]);
  });

  it("never unpickles, evaluates or trusts remote code", () => {
    const banned =
      /\bimport pickle|torch\.load\(|joblib|dill\b|allow_pickle=True|yaml\.load\(|trust_remote_code=True|[^.\w]eval\(/;
    expect(code.filter((file) => banned.test(readFileSync(join(root, file), "utf8")))).toEqual([]);
  });
});
