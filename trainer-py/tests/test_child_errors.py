"""What a child's exception becomes: a code, and the domain by which it is tried again."""

import errno

import pytest
from safetensors import SafetensorError

from bora_trainer.child import as_trainer_error, of_attempt
from bora_trainer.errors import TrainerError


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_nothing_more_is_no_fault_of_the_run(number: int) -> None:
    told = as_trainer_error(OSError(number, "no"))
    assert (told.code, told.domain) == ("disk_full", "controller")


def test_also_in_the_words_of_safetensors() -> None:
    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    told = as_trainer_error(SafetensorError(words))
    assert (told.code, told.domain) == ("disk_full", "controller")
    assert as_trainer_error(SafetensorError("Error while serializing: InvalidOffset")).code == "internal"


def test_a_way_of_computing_that_only_a_later_machine_lacks_is_the_machines_fault() -> None:
    missing = TrainerError("engine_unsupported", "no C++ compiler is on this machine", "install g++")
    assert of_attempt(1, missing).domain == "user"
    later = of_attempt(2, missing)
    assert (later.code, later.domain, later.message) == ("engine_unsupported", "infra", missing.message)
    other = TrainerError("data_missing", "no file", "check data.path")
    assert of_attempt(2, other) is other
