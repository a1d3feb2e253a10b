// Finds a Python that is new enough and lets it make the trainer's environment (ensure_venv.py).
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const CANDIDATES = process.platform === "win32" ? ["python", "py"] : ["python3", "python", "python3.11"];
const VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3]); sys.exit(sys.version_info < (3, 11))";

const tooOld = [];
const python = CANDIDATES.find((name) => {
  const { status, stdout } = spawnSync(name, ["-c", VERSION], { encoding: "utf8" });
  if (status !== 0 && stdout) tooOld.push(`${name} is ${stdout.trim()}`);
  return status === 0;
});
if (python === undefined) {
  const found = tooOld.length > 0 ? ` (${tooOld.join(", ")})` : "";
  console.error(`error python_missing: no Python 3.11 or newer among ${CANDIDATES.join(", ")}${found}`);
  console.error("hint: install Python 3.11 or newer with its venv module, and put it on PATH as python3");
  process.exit(2);
}
const script = fileURLToPath(new URL("ensure_venv.py", import.meta.url));
const { status } = spawnSync(python, [script, ...process.argv.slice(2)], { stdio: "inherit" });
process.exit(status ?? 1);
