"""Shared by the tests of whole runs."""

from collections.abc import Iterator
from pathlib import Path

import cards  # first: it decides how Triton runs
import pytest
import tiny_runs
import torch

from bora_trainer import card_kernels


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tiny_runs.Tiny:
    folder: Path = tmp_path_factory.mktemp("tiny")
    tiny_runs.write_model(folder / "model")
    tiny_runs.write_table(folder / "table.csv")
    return tiny_runs.Tiny(folder)


@pytest.fixture
def threads() -> Iterator[None]:
    """For what sets this process's number of threads, on which other tests' bits depend: it is put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels for graphics cards are taken, on the CPU too."""
    monkeypatch.setattr(card_kernels, "run_on", lambda tensor: tensor.device.type == torch.device(cards.DEVICE).type)
