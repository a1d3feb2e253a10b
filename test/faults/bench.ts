import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const bora = join(root, "packages/orchestrator/bin/bora.js");
const python = join(root, "trainer-py/.venv/bin/python");

/** One thread each: sweeps run beside others, and threads that wait for each other would only burn time. */
export const environment = { ...process.env, OMP_NUM_THREADS: "1" };

/** A tiny model, an experiment on it, what that gives undisturbed, and an output folder in which it was inspected. */
export interface Bench {
  folder: string;
  spec: string;
  otherSpec: string; // another experiment, for a second orchestrator
  template: string;
  expected: ReadonlyMap<string, string>; // sha256 by path in the sweep's folder
  lifeMs: number; // of an undisturbed sweep
}

const train = { maxSteps: 160, patience: 160, evaluateEvery: 20, checkpointEvery: 20, tokensPerTask: 96 };

function writeSpec(folder: string, name: string, changes: object): string {
  const experiment = {
    name,
    model: { source: "path", path: join(folder, "model"), dtype: "float32" },
    data: {
      ...{ source: "csv", path: join(folder, "speeches.csv"), maxTokens: 48 },
      columns: { text: "text", id: "id", date: "date" },
    },
    adapter: { rank: 4, alpha: 8, targets: ["q_proj", "v_proj"] },
    prior: { taus: [0, 1e3, "inf"] },
    train: { ...train, learningRate: 5e-3 },
    ...changes,
  };
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, JSON.stringify(experiment));
  return file;
}

async function sweep(spec: string, out: string): Promise<void> {
  await execa("node", [bora, "sweep", "--spec", spec, "--out", out], { env: environment, stdin: "ignore" });
}

/** Makes the model and runs the experiment once without disturbance; some 30 s. */
export async function makeBench(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), "bora-faults-"));
  await execa(python, [join(root, "test/fixtures/tiny_experiment.py"), folder]);
  const otherSpec = writeSpec(folder, "other", { prior: { taus: [7] }, train: { ...train, maxSteps: 20 } });
  const spec = writeSpec(folder, "tiny", {});
  const [template, undisturbed] = [join(folder, "template"), join(folder, "undisturbed")];
  await sweep(otherSpec, template);
  rmSync(join(template, "trainer"), { recursive: true });
  cpSync(template, undisturbed, { recursive: true });
  const began = performance.now();
  await sweep(spec, undisturbed);
  const lifeMs = performance.now() - began;
  return { folder, spec, otherSpec, template, expected: resultsIn(undisturbed), lifeMs };
}

/** The sweep's own folder, null while there is none. */
export function sweepFolder(out: string): string | null {
  const name = existsSync(out) ? readdirSync(out).find((entry) => entry.startsWith("tiny-")) : undefined;
  return name === undefined ? null : join(out, name);
}

/** sha256 of every file that the sweep gave, by its path. */
export function resultsIn(out: string): Map<string, string> {
  const folder = sweepFolder(out);
  if (folder === null) return new Map();
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const hashed = files.map((entry): [string, string] => {
    const path = join(entry.parentPath, entry.name);
    return [relative(folder, path), createHash("sha256").update(readFileSync(path)).digest("hex")];
  });
  return new Map(hashed.sort(([a], [b]) => (a < b ? -1 : 1)));
}
