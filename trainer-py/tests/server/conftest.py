from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trainer_under_test import TrainerUnderTest


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., TrainerUnderTest]]:
    started: list[TrainerUnderTest] = []

    def start(*arguments: str, **options: Any) -> TrainerUnderTest:
        started.append(TrainerUnderTest(tmp_path / f"trainer-{len(started)}", *arguments, **options))
        return started[-1]

    yield start
    for trainer in started:
        trainer.end()


@pytest.fixture
def trainer(launch: Callable[..., TrainerUnderTest]) -> TrainerUnderTest:
    return launch().connect()
