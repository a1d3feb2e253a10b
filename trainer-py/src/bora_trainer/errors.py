"""The one error class of the trainer.

A `TrainerError` carries what a person needs to act: a stable `code` (one section each in docs/errors.md), a `message`
with the numbers and a `hint` that says what to change. `domain` tells the scheduler who is at fault, and with it
whether trying again can help.
"""

import errno
import sys
from typing import Literal, cast

Domain = Literal["user", "oom", "infra", "controller"]


class TrainerError(Exception):
    """A failure with code, message, hint and domain.

    `domain` is "user" (the experiment is wrong; trying again cannot help), "oom" (smaller micro-batches may help),
    "infra" (the machine; another attempt may help) or "controller" (the orchestrator asked for it).
    """

    def __init__(self, code: str, message: str, hint: str = "", domain: Domain = "user") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.domain: Domain = domain

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the host or on the device. Never imports torch."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, cast(type, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
