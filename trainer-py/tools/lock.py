"""Writes the locks from the .in files: `python tools/lock.py`, with pip-tools.

Two locks, one environment: images and users who only train install requirements.lock; tests, checks and code generation
add requirements-dev.lock on top, resolved under the first as a constraint, so that no version differs between them.
requirements-audit.lock is of another environment, that of `npm run audit`.

No lock holds torch or what only torch needs on some platforms (CUDA libraries), but for what a source names itself:
torch is installed before, from the index the user has configured. Packages that are used for their files come without
their own requirements.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = (
    "--quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-annotate --no-emit-index-url "
    "--no-emit-find-links --no-emit-trusted-host --no-emit-options --pip-args=--only-binary=:all:"
)
LEFT_OUT = re.compile(r"torch|triton|nvidia-.*|cuda-.*|pip|setuptools")
HEADER = """\
# Written by tools/lock.py from {source}; do not edit.
# Install with: pip install --no-deps --require-hashes -r {name}
"""


def main() -> None:
    runtime = compile_lock("requirements.in", [])
    runtime |= lock_files("requirements-files.in")
    write("requirements.lock", "requirements.in and requirements-files.in", runtime)
    dev = compile_lock("requirements-dev.in", ["--constraint", "requirements.lock"])
    write("requirements-dev.lock", "requirements-dev.in", {name: dev[name] for name in dev if name not in runtime})
    write("requirements-audit.lock", "requirements-audit.in", compile_lock("requirements-audit.in", []))


def compile_lock(source: str, options: list[str]) -> dict[str, str]:
    """Pinned blocks by package name: `source` and all it requires, with the hashes of every platform's wheels."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "lock.txt"
        if (ROOT / "requirements.lock").exists():
            target.write_text((ROOT / "requirements.lock").read_text())  # known pins stay where they fit
        command = [sys.executable, "-m", "piptools", "compile", *OPTIONS.split(), *options, "-o", str(target), source]
        subprocess.run(command, cwd=ROOT, check=True)
        blocks = re.findall(r"^([A-Za-z0-9][\w.-]*)(==.+(?:\n    .+)*)", target.read_text(), re.MULTILINE)
    named = re.findall(r"^[A-Za-z0-9][\w.-]*", (ROOT / source).read_text(), re.MULTILINE)
    return {name: name + rest for name, rest in blocks if name in named or not LEFT_OUT.fullmatch(name)}


def lock_files(source: str) -> dict[str, str]:
    """Pinned blocks of the packages in `source` alone; they are pure Python: one wheel serves every platform."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--only-binary=:all:", "--report", "-", "-r", source]
    report = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    blocks: dict[str, str] = {}
    for item in report["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        blocks[name] = f"{name}=={version} \\\n    --hash=sha256:{digest}"
    return blocks


def write(name: str, source: str, blocks: dict[str, str]) -> None:
    text = HEADER.format(source=source, name=name) + "".join(f"{blocks[key]}\n" for key in sorted(blocks))
    (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
