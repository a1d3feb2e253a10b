"""Shared by the tests of whole runs."""

from pathlib import Path

import pytest
import tiny_runs


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tiny_runs.Tiny:
    folder: Path = tmp_path_factory.mktemp("tiny")
    tiny_runs.write_model(folder / "model")
    tiny_runs.write_table(folder / "table.csv")
    return tiny_runs.Tiny(folder)
