import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { exitOf, linesOf, npmVerdict, pipVerdict, type Verdict } from "./audit-reports.js";

// `npm run audit`: looks every lock up among known weaknesses, where a network allows. Exit codes: exitOf.

const root = fileURLToPath(new URL("../..", import.meta.url));
const at = (...path: string[]) => join(root, "trainer-py", ...path);
const quiet = { reject: false, cwd: root } as const;

/** An environment of its own, so that what audits is no part of what is audited. Made anew when its lock changes. */
async function pipAudit(): Promise<string> {
  const [venv, lock] = [join(root, "node_modules/.cache/pip-audit"), at("requirements-audit.lock")];
  const stamp = join(venv, "requirements-audit.lock"); // written last
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== readFileSync(lock, "utf8")) {
    rmSync(venv, { recursive: true, force: true });
    await execa("python3", ["-m", "venv", venv]);
    await execa(join(venv, "bin/pip"), ["install", "--quiet", "--no-deps", "--require-hashes", "-r", lock]);
    writeFileSync(stamp, readFileSync(lock, "utf8"));
  }
  return join(venv, "bin/pip-audit");
}

async function auditNpm(): Promise<Verdict> {
  const { stdout, stderr } = await execa("npm", ["audit", "--json", "--package-lock-only"], quiet);
  return npmVerdict(stdout, stderr);
}

async function auditPython(file: string, ...options: string[]): Promise<Verdict> {
  const program = await pipAudit().catch((error: unknown) => error);
  if (typeof program !== "string") return { is: "unknown", why: `pip-audit cannot be installed: ${String(program)}` };
  const shown = ["--disable-pip", "--progress-spinner", "off", "--format", "json"];
  const { stdout, stderr } = await execa(program, [...options, ...shown, "-r", file], quiet);
  return pipVerdict(stdout, stderr);
}

/** torch is in no lock: the user chooses its build. */
async function auditTorch(): Promise<Verdict> {
  const folder = mkdtempSync(join(tmpdir(), "bora-audit-"));
  const [, pin = ""] = /^TORCH = "(.+)"$/m.exec(readFileSync(at("tools/ensure_venv.py"), "utf8")) ?? [];
  writeFileSync(join(folder, "torch.txt"), `${pin}\n`);
  const verdict = await auditPython(join(folder, "torch.txt"), "--no-deps");
  rmSync(folder, { recursive: true });
  return verdict;
}

const verdicts: Verdict[] = [];
const say = async (lock: string, verdict: Promise<Verdict>): Promise<void> => {
  verdicts.push(await verdict);
  for (const line of linesOf(lock, await verdict)) console.log(line);
};
await say("package-lock.json", auditNpm());
for (const lock of ["requirements.lock", "requirements-dev.lock", "requirements-audit.lock"])
  await say(`trainer-py/${lock}`, auditPython(at(lock), "--require-hashes"));
await say("torch", auditTorch());
process.exitCode = exitOf(verdicts);
console.log(`exit ${process.exitCode}`);
