// Makes test/fuzz/.venv what requirements.lock says: schemathesis, apart from the trainer's own environment. Where there
// is no Python or no package index the suite leaves it out by name, so nothing here fails.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const [venv, lock] = [join(folder, ".venv"), join(folder, "requirements.lock")];
const stamp = join(venv, "stamp"); // written last: an environment without it was torn in the making
const wanted = createHash("sha256").update(readFileSync(lock)).digest("hex");
const run = (command, ...args) => spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"] }).status === 0;

if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
  rmSync(venv, { recursive: true, force: true });
  const python = ["python3", "python", "python3.11"].find((name) =>
    run(name, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"),
  );
  const pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", lock];
  const made = python !== undefined && run(python, "-m", "venv", venv) && run(join(venv, "bin/python"), ...pip);
  if (made) writeFileSync(stamp, wanted);
  else {
    rmSync(venv, { recursive: true, force: true });
    console.log("schemathesis cannot be installed here: test:fuzz leaves it out");
  }
}
