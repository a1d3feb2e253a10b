import { statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { formatBytes, toBoraError, wire } from "@bora/contracts";
import { openLab, type LabFolder } from "@bora/sdk";
import { check, describeTrainer, findPython } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import { experimentOf, labFolder, type ExperimentOptions } from "../options.js";
import { short } from "../progress/words.js";
import type { Terminal } from "../terminal.js";

export interface Finding {
  check: string;
  verdict: "ok" | "warning" | "problem";
  found: string;
  remedy: string; // empty when ok
}

const ok = (check: string, found: string): Finding => ({ check, verdict: "ok", found, remedy: "" });
const warning = (check: string, found: string, remedy: string): Finding => ({
  check,
  verdict: "warning",
  found,
  remedy,
});
const enoughMemory = 6 * 2 ** 30; // what the default example peaks below
const enoughDisk = 5 * 2 ** 30;

/** Runs a check; what it throws is a problem with its hint. */
export async function attempt(check: string, look: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await look();
  } catch (thrown) {
    const { code, message, hint } = toBoraError(thrown);
    return [{ check, verdict: "problem", found: `${code}: ${message}`, remedy: hint }];
  }
}

/** The range of package.json's engines, ^20.19 || >=22.12. */
export function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const supported = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22;
  if (supported) return ok("node", version);
  return {
    check: "node",
    verdict: "problem",
    found: version,
    remedy: "install Node 20.19 or later, or 22.12 or later",
  };
}

async function checkDisk(dir: string): Promise<Finding[]> {
  let folder = dir;
  for (;;) {
    const facts = await statfs(folder).catch(() => null);
    if (facts === null && dirname(folder) !== folder) folder = dirname(folder);
    else if (facts === null) return [warning("disk", `${dir} cannot be looked at`, "name another folder with --out")];
    else {
      const free = facts.bavail * facts.bsize;
      const found = `${formatBytes(free)} free for ${dir}`;
      return [
        free >= enoughDisk ? ok("disk", found) : warning("disk", found, "checkpoints and adapters need some GiB"),
      ];
    }
  }
}

const checkPorts = (): Promise<Finding[]> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      server.close(() => {
        resolve([ok("ports", "127.0.0.1 gives free ports")]);
      });
    });
  });

function deviceFindings(device: wire.Device): Finding {
  const dtype = device.dtype === wire.Dtype.BFLOAT16 ? "bfloat16" : "float32";
  const threads = device.threads > 0 ? `, ${device.threads} threads` : "";
  return ok("device", `${device.name} (${device.description}): ${dtype}, ${device.dtypeReason}${threads}`);
}

async function checkTrainer(folder: LabFolder): Promise<Finding[]> {
  const described = await describeTrainer(folder, AbortSignal.timeout(60_000));
  const versions = Object.entries(described.versions).map(([name, version]) => `${name} ${version}`);
  const free = Number(described.freeMemoryBytes);
  const memory = `${formatBytes(free)} free`;
  return [
    ok("trainer", `${folder.trainers === undefined ? "starts" : "answers"}; ${versions.join(", ")}`),
    ...described.devices.map(deviceFindings),
    free >= enoughMemory ? ok("memory", memory) : warning("memory", memory, "close programs, or lower pack.maxRows"),
  ];
}

const restore = "put a backup in its place (bora backup makes them), or sweep into another folder with --out";

async function checkStore(folder: LabFolder): Promise<Finding[]> {
  const { dir } = folder;
  await using lab = await openLab(folder);
  const sweeps = await lab.status();
  const live = sweeps.find((sweep) => sweep.live);
  const { events, problems } = await check({ dir });
  const [first] = problems;
  if (first !== undefined) return [{ check: "store", verdict: "problem", found: first, remedy: restore }];
  const work = live === undefined ? "" : `, ${live.sweepId} at work`;
  return [ok("store", `${dir}: ${sweeps.length} sweeps, ${events} events, all whole${work}`)];
}

async function checkExperiment(options: ExperimentOptions, terminal: Terminal): Promise<Finding[]> {
  const spec = await experimentOf(options, terminal);
  await using lab = await openLab(labFolder(options, terminal));
  const { inspected, plan } = await lab.plan(spec);
  const documents = inspected.tasks.reduce((sum, { documents: d }) => sum + d.train + d.validation + d.test, 0);
  return [
    ok("model", `${inspected.modelName}: ${short(inspected.baseParameters)} parameters`),
    ok("data", `${inspected.tasks.length} tasks, ${documents} documents`),
    ok("experiment", `${plan.trials.length} trials`),
  ];
}

const marks = { ok: "ok", warning: "warn", problem: "FAIL" } as const;

function lines({ check, verdict, found, remedy }: Finding): string {
  const line = `${marks[verdict].padEnd(5)}${check.padEnd(12)}${found}`;
  return remedy === "" ? line : `${line}\n${" ".repeat(17)}to do: ${remedy}`;
}

/** `bora doctor`: everything a sweep needs, checked by doing it, each with what to do. */
export async function doctor(options: ExperimentOptions, terminal: Terminal): Promise<ExitName> {
  const folder = labFolder(options, terminal);
  const { dir } = folder;
  const findings: Finding[] = [];
  const tell = (found: readonly Finding[]) => {
    findings.push(...found);
    for (const one of found) terminal.out(options.json === true ? JSON.stringify(one) : lines(one));
  };
  tell([checkNode(process.versions.node)]);
  if (folder.trainers === undefined) tell(await attempt("python", async () => [ok("python", await findPython())]));
  tell(await attempt("disk", () => checkDisk(dir)));
  tell(await attempt("ports", checkPorts));
  tell(await attempt("store", () => checkStore(folder)));
  tell(await attempt("trainer", () => checkTrainer(folder)));
  const trainerStarts = !findings.some(({ check, verdict }) => check === "trainer" && verdict === "problem");
  if (trainerStarts) tell(await attempt("experiment", () => checkExperiment(options, terminal)));
  return findings.some(({ verdict }) => verdict === "problem") ? "usage" : "done";
}
