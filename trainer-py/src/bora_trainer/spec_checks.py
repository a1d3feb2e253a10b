"""What every reader of a request asks of a field; each refusal names the field, the value and what was expected."""

import math
from typing import TypeVar

from bora_trainer.errors import TrainerError

Word = TypeVar("Word")


def require(ok: bool, field: str, value: object, expected: str) -> None:
    if not ok:
        raise TrainerError(
            "spec_invalid", f"{field} is {value!r}, expected {expected}", "see docs/errors.md#spec_invalid"
        )


def word(words: dict[int, Word], value: int, field: str) -> Word:
    require(value in words, field, value, f"one of {', '.join(str(word) for word in words.values())}")
    return words[value]


def positive(value: float, field: str) -> float:
    require(math.isfinite(value) and value > 0, field, value, "a finite number above 0")
    return value


def at_least_one(value: int, field: str) -> int:
    require(value >= 1, field, value, "at least 1")
    return value
