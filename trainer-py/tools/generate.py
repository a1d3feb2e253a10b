"""Writes src/bora from ../proto: messages and type stubs for every file, service code where there is a service."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from grpc_tools import protoc  # pyright: ignore[reportMissingTypeStubs]

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT.parent / "proto"
OUTPUT = ROOT / "src"


def main() -> int:
    files = sorted(path.relative_to(PROTO) for path in (PROTO / "bora" / "trainer").rglob("*.proto"))
    services = [file for file in files if "\nservice " in (PROTO / file).read_text(encoding="utf-8")]
    shutil.rmtree(OUTPUT / "bora", ignore_errors=True)
    return run(["--python_out", "--pyi_out"], files) or run(["--grpc_python_out"], services)


def run(outputs: Sequence[str], files: Sequence[Path]) -> int:
    options = [f"-I{PROTO}", f"-I{Path(protoc.__file__).parent / '_proto'}"]
    return protoc.main(["protoc", *options, *(f"{o}={OUTPUT}" for o in outputs), *(file.as_posix() for file in files)])


if __name__ == "__main__":
    sys.exit(main())
