import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { exitOf, linesOf, npmVerdict, pipVerdict, type Verdict } from "./tools/audit-reports.js";

const read = (file: string): string => readFileSync(fileURLToPath(new URL(`../${file}`, import.meta.url)), "utf8");
const locks = ["requirements.lock", "requirements-dev.lock", "requirements-audit.lock"];

describe("the locks", () => {
  const Lock = z.object({
    lockfileVersion: z.literal(3),
    packages: z.record(
      z.string(),
      z.looseObject({ version: z.string().optional(), integrity: z.string().optional(), link: z.boolean().optional() }),
    ),
  });

  it("hold the hash of every npm package, and name no registry", () => {
    const text = read("package-lock.json");
    const { packages } = Lock.parse(JSON.parse(text));
    const fetched = Object.entries(packages).filter(
      ([path, { link }]) => path.includes("node_modules/") && link !== true,
    );
    expect(fetched.length).toBeGreaterThan(500);
    expect(fetched.filter(([, { integrity }]) => !/^sha512-[\w+/]{86}==$/.test(integrity ?? ""))).toEqual([]);
    const resolved = [...text.matchAll(/"resolved": "([^"]+)"/g)].map(([, from = ""]) => from);
    expect(resolved.filter((from) => !/^(packages\/[\w-]+|test)$/.test(from))).toEqual([]);
  });

  it.each(locks)("%s holds a hash of every package, and names no index", (lock) => {
    const text = read(`trainer-py/${lock}`).replace(/^#.*\n/gm, "");
    const blocks = text.split(/\n(?=\S)/).filter((block) => block.trim() !== "");
    expect(blocks.length).toBeGreaterThan(5);
    const one = /^[a-z0-9][\w.-]*==[\w.+!]+(?: ; [^\\]+)? \\\n( {4}--hash=sha256:[0-9a-f]{64}( \\)?\n?)+$/i;
    expect(blocks.filter((block) => !one.test(block))).toEqual([]);
    expect(text).not.toMatch(/https?:|--(extra-)?index-url|--find-links|--trusted-host/);
  });
});

describe("what an audit says", () => {
  const npm = (severities: string[]) =>
    JSON.stringify({
      vulnerabilities: Object.fromEntries(severities.map((severity, n) => [`p${n}`, { severity, range: "<2" }])),
      metadata: { dependencies: { total: 872 } },
    });
  const pip = (...dependencies: object[]) => JSON.stringify({ dependencies });
  const sound = { name: "sound", version: "1.0", vulns: [] };
  const weak = { name: "weak", version: "1.0", vulns: [{ id: "PYSEC-1", fix_versions: ["1.1"] }] };
  const skipped = { name: "skipped", skip_reason: "not found" };

  it.each<[string, Verdict, Verdict["is"], RegExp]>([
    ["npm, nothing known", npmVerdict(npm([]), ""), "clean", /872 packages.*\(0 lesser\)/],
    ["npm, moderate at most", npmVerdict(npm(["low", "moderate"]), ""), "clean", /\(2 lesser\)/],
    ["npm, one high", npmVerdict(npm(["high", "low"]), ""), "found", /1 of high severity\n {2}p0 <2: high/],
    ["npm, refused by the registry", npmVerdict('{"message":"405 Method Not Allowed"}', ""), "unknown", /NOT.*405/],
    ["npm, no answer", npmVerdict("", "npm error\nnpm error ENOTFOUND"), "unknown", /NOT AUDITED.*ENOTFOUND/],
    ["pip-audit, nothing known", pipVerdict(pip(sound), ""), "clean", /1 packages/],
    ["pip-audit, one", pipVerdict(pip(sound, weak), ""), "found", /weak 1\.0: PYSEC-1, mended in 1\.1/],
    ["pip-audit, one and one skipped", pipVerdict(pip(weak, skipped), ""), "found", /PYSEC-1/],
    ["pip-audit, one skipped", pipVerdict(pip(sound, skipped), ""), "unknown", /NOT.*1 of 2 packages.*not found/],
    ["pip-audit, nothing looked up", pipVerdict(pip(), ""), "unknown", /NOT.*0 of 0/],
    ["pip-audit, broken off", pipVerdict("", "a\nConnectionError: no route"), "unknown", /NOT.*no route/],
  ])("%s", (_name, verdict, is, said) => {
    expect(verdict.is).toBe(is);
    expect(linesOf("lock", verdict).join("\n")).toMatch(said);
  });

  it("ends with 0 only when all was looked up, with 1 for a finding, and otherwise with 3", () => {
    const [clean, found, unknown] = [npmVerdict(npm([]), ""), npmVerdict(npm(["critical"]), ""), npmVerdict("", "")];
    expect([[clean], [clean, unknown], [unknown, found], [found]].map(exitOf)).toEqual([0, 3, 1, 1]);
  });
});
