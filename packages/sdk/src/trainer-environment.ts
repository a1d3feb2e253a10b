import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BoraError } from "@bora/contracts";

const run = promisify(execFile);
const names = ["python3", "python", "python3.11"];
const isNewEnough = (major: number, minor: number): boolean => major > 3 || (major === 3 && minor >= 11);

/** The folder trainer-py, found upwards from this file. Throws environment_missing. */
function trainerProject(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "trainer-py"))) {
    if (dirname(folder) === folder)
      throw new BoraError("environment_missing", "there is no trainer-py folder beside these packages", {
        hint: "run BoRA from a checkout, or name the trainer's interpreter in BORA_PYTHON",
      });
    folder = dirname(folder);
  }
  return join(folder, "trainer-py");
}

const interpreterOf = (project: string): string =>
  process.platform === "win32"
    ? join(project, ".venv", "Scripts", "python.exe")
    : join(project, ".venv", "bin", "python");

async function versionOf(name: string): Promise<[number, number] | null> {
  const said = await run(name, ["--version"]).catch(() => null);
  const found = /Python (\d+)\.(\d+)/.exec(said?.stdout ?? "");
  return found === null ? null : [Number(found[1]), Number(found[2])];
}

/** What to do when the environment is not there depends on whether a Python is that can make it. */
async function missingEnvironment(interpreter: string): Promise<BoraError> {
  const versions = await Promise.all(names.map(versionOf));
  const known = versions.filter((version) => version !== null);
  if (known.some(([major, minor]) => isNewEnough(major, minor)))
    return new BoraError("environment_missing", `the trainer's environment is not there: ${interpreter}`, {
      hint: "npx nx run trainer-py:venv makes it",
    });
  const found = known.length === 0 ? "none" : known.map((version) => version.join(".")).join(", ");
  return new BoraError("python_missing", `the trainer needs Python 3.11 or later; found ${found}`, {
    hint: "install Python 3.11 or later, then: npx nx run trainer-py:venv",
  });
}

/**
 * The interpreter of the trainer's environment: BORA_PYTHON, or trainer-py/.venv. Throws environment_missing, or
 * python_missing when nothing here could make the environment.
 */
export async function findPython(environment: NodeJS.ProcessEnv = process.env): Promise<string> {
  const interpreter = environment["BORA_PYTHON"] ?? interpreterOf(trainerProject());
  if (existsSync(interpreter)) return interpreter;
  throw await missingEnvironment(interpreter);
}
