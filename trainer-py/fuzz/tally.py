"""What became of some inputs, as test/fuzz/tally.ts reads it."""

import json
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, TypeVar

from bora_trainer.errors import TrainerError

Input = TypeVar("Input")
HANG_SECONDS = 5.0
MOST_SAMPLES = 5


@dataclass
class Tally:
    """Counts by outcome, named as the driver has them. `refused` by code; the driver looks whether it is known."""

    inputs: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    hangs: int = 0
    internal: int = 0
    escapes: int = 0
    residentMiB: float = 0.0
    samples: list[str] = field(default_factory=list)

    def sample(self, text: str) -> None:
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(text[:400])

    def crash(self, text: str) -> None:
        self.crashes += 1
        self.sample(text)

    def __iadd__(self, other: "Tally") -> "Tally":
        for name in ("inputs", "accepted", "crashes", "hangs", "internal", "escapes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.refused += other.refused
        self.samples = (self.samples + other.samples)[:MOST_SAMPLES]
        return self

    def to_json(self) -> str:
        return json.dumps(vars(self))


class Unsound(Exception):
    """An input was taken, and what the reader made of it breaks a rule."""


class Session(Protocol):
    def run(self, rng: Random, count: int) -> Tally: ...

    def close(self) -> None: ...


def judge(rng: Random, count: int, make: Callable[[Random], Input], use: Callable[[Input], Any]) -> Tally:
    """Has `use` read `count` inputs. It takes them, or raises a TrainerError; everything else is a crash."""
    tally = Tally()
    for index in range(count):
        given = make(rng)
        began = time.monotonic()
        tally.inputs += 1
        try:
            use(given)
            tally.accepted += 1
        except TrainerError as error:
            tally.refused[error.code] += 1
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} at {where.name}:{where.lineno}: {str(error)[:200]}"
            tally.crash(f"input {index}: {what} from {str(given)[:400]}")
        if time.monotonic() - began > HANG_SECONDS:
            tally.hangs += 1
            tally.sample(f"input {index} took {time.monotonic() - began:.1f} s: {str(given)[:400]}")
    return tally
