"""Kernels for graphics cards compile for them, on any machine: Triton brings its assembler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")


def test_every_kernel_compiles_for_a100_and_h100(tmp_path: Path) -> None:
    """In a process of its own: in this one, without a card, kernels are interpreted."""
    without = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    found = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("compile_cards.py"))],
        env={**without, "PYTHONPATH": os.pathsep.join(sys.path), "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "compiled"
