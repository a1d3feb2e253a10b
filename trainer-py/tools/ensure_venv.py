"""Makes trainer-py/.venv what the locks say, and does nothing when it already is. Standard library only.

A stamp inside the environment, written last, holds the sha256 of the locks, the Python version (major and minor: two
Pythons 3.11 on one machine do not fight over it) and the platform: an environment without it was torn in the making,
one with another is stale, and both are made anew. Two callers at once take turns by a file lock, which the system lets
go of when its holder dies.

torch is installed first, unhashed, from the index the user has configured for pip, so that the user chooses its build.
With --runtime-only the tools for tests and code generation stay out (container images).
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
OLDEST = (3, 11)


class EnvironmentProblem(Exception):
    """What stands in the way, with a hint."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the trainer's Python environment.")
    parser.add_argument("--runtime-only", action="store_true", help="leave out the tools for tests and checks")
    locks = (
        ["requirements.lock"] if parser.parse_args().runtime_only else ["requirements.lock", "requirements-dev.lock"]
    )
    try:
        ensure(ROOT, locks)
    except EnvironmentProblem as problem:
        print(f"error {problem.code}: {problem}\nhint: {problem.hint}", file=sys.stderr)
        return 2
    return 0


def ensure(root: Path, locks: Sequence[str]) -> bool:
    """Whether the environment under `root` had to be made. Raises EnvironmentProblem when it cannot be."""
    if sys.version_info < OLDEST:
        version = platform.python_version()
        raise EnvironmentProblem("python_missing", f"this is Python {version}, 3.11 is needed", "install Python 3.11")
    venv, expected = root / ".venv", stamp([root / lock for lock in locks])
    if why_not(venv, expected) is None:
        return False
    with held(root / ".venv.lock"):
        reason = why_not(venv, expected)
        if reason is None:  # another one made it while this one waited
            return True
        say(f"making {venv.name} with Python {platform.python_version()}, because {reason} (some minutes, over 1 GiB)")
        build(root, venv, locks)
        write_stamp(venv, json.dumps(expected))
    return True


def stamp(locks: Sequence[Path]) -> dict[str, str]:
    """What an environment is made from and for."""
    digest = hashlib.sha256(TORCH.encode())
    for lock in locks:
        digest.update(lock.name.encode() + lock.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    return {"locks": digest.hexdigest(), "python": python, "platform": sysconfig.get_platform()}


def why_not(venv: Path, expected: dict[str, str]) -> str | None:
    """Why the environment cannot be used as it is; None when it can."""
    try:
        found = json.loads((venv / "bora-stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "it was left unfinished" if venv.exists() else "there is none yet"
    if not interpreter(venv).exists():
        return "its Python is gone"
    changed = [
        f"{key} {found.get(key)!r:.20} became {value!r:.20}"
        for key, value in expected.items()
        if found.get(key) != value
    ]
    return "; ".join(changed) or None


def write_stamp(venv: Path, text: str) -> None:
    temporary = venv / "bora-stamp.json.new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, venv / "bora-stamp.json")


def interpreter(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def build(root: Path, venv: Path, locks: Sequence[str]) -> None:
    """Makes the environment from nothing: interpreter, torch, all that is locked, and this package by its path."""
    started = time.monotonic()
    shutil.rmtree(venv, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(venv)], "install the venv module (Debian: apt install python3-venv)")
    pip = [
        str(interpreter(venv)),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--quiet",
    ]
    say(f"installing {TORCH} from pip's configured index")
    network = "check the network and pip's configuration (pip config list)"
    run([*pip, TORCH], network)
    for lock in locks:
        say(f"installing {lock}")
        run([*pip, "--no-deps", "--require-hashes", "-r", str(root / lock)], network)
    make_importable(root, venv)
    run(
        [str(interpreter(venv)), "-c", "import bora_trainer.server, torch, transformers"],
        "report this with pip's output",
    )
    say(f"ready after {time.monotonic() - started:.0f} s")


def make_importable(root: Path, venv: Path) -> None:
    """A .pth file with a relative path, so that the folder may be moved and nothing is copied."""
    for packages in [*venv.glob("lib/python3*/site-packages"), *venv.glob("Lib/site-packages")]:
        (packages / "bora-trainer.pth").write_text(os.path.relpath(root / "src", packages) + "\n", encoding="utf-8")


def run(command: Sequence[str], hint: str) -> None:
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise EnvironmentProblem("environment_missing", f"{' '.join(command[:5])} ... failed: {error}", hint) from error


@contextmanager
def held(path: Path) -> Iterator[None]:
    """An exclusive lock on a file, waited for."""
    with open(path, "a+b") as file:
        lock(file.fileno(), path)
        yield


def lock(descriptor: int, path: Path) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for another process that holds {path.name}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def say(words: str) -> None:
    print(f"trainer-py: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
