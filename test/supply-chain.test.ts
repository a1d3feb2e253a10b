import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
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

it("a bill of materials lists what dpkg and npm have installed, and nothing that is gone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bora-bill-"));
  const put = (file: string, value: unknown) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), typeof value === "string" ? value : JSON.stringify(value));
  };
  const debian = (name: string, state: string) =>
    `Package: ${name}\nStatus: ${state}\nArchitecture: amd64\nVersion: 1:2.0+b~1\nDescription: it\n Status: no field\n`;
  put("status", `${debian("tini", "install ok installed")}\n${debian("gone", "deinstall ok config-files")}`);
  const integrity = `sha512-${Buffer.alloc(64, 1).toString("base64")}`;
  const record = { "node_modules/@a/b": { version: "1.2.3", integrity }, "node_modules/@bora/sdk": { link: true } };
  Object.assign(record, { "test/node_modules/not-kept": { version: "1.0.0", integrity } });
  put("node_modules/.package-lock.json", { packages: record });
  put("node_modules/@a/b/package.json", { version: "1.2.3" });
  const options = ["--name", "image", "--dpkg-status", join(folder, "status"), "--npm", folder];
  const bill = () => execa("python3", [fileURLToPath(new URL("../docker/sbom.py", import.meta.url)), ...options]);
  expect(JSON.parse((await bill()).stdout)).toMatchObject({
    components: [
      { purl: "pkg:deb/debian/tini@1%3A2.0%2Bb~1?arch=amd64&distro=debian-12", version: "1:2.0+b~1" },
      { purl: "pkg:npm/%40a/b@1.2.3", name: "@a/b", hashes: [{ alg: "SHA-512", content: "01".repeat(64) }] },
    ],
  });
  put("node_modules/@a/b/package.json", { version: "1.2.4" });
  await expect(bill()).rejects.toThrow(/is 1\.2\.4; npm's record says 1\.2\.3/);
  rmSync(folder, { recursive: true });
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
