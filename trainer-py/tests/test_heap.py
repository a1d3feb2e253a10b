"""How a child's memory is kept; what its user has set prevails."""

import subprocess
import sys

import pytest

from bora_trainer.child_process import child_environment
from bora_trainer.heap import NAME, with_kept_memory

FAULTS = """
import resource, torch
torch.set_num_threads(1)
def work():
    for _ in range(5):
        torch.ones(12 << 20)  # larger than what glibc ever keeps by itself
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_child_keeps_memory_and_the_rest_of_its_environment_is_what_it_was() -> None:
    given = child_environment({"PATH": "/bin", "SECRET": "no", "BORA_X": "1"})
    assert given.pop(NAME).count("glibc.malloc.") == 3
    assert given == {"PATH": "/bin", "BORA_X": "1"}


def test_what_the_user_says_prevails() -> None:
    said = "glibc.malloc.trim_threshold=7:glibc.cpu.x=1"
    found = with_kept_memory({NAME: said})[NAME]
    assert found.startswith(said + ":") and found.count("trim_threshold") == 1 and "mmap_threshold" in found
    assert with_kept_memory({NAME: found}) == {NAME: found}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted on Linux")
def test_memory_that_comes_and_goes_is_not_faulted_in_anew() -> None:
    counts = []
    for environment in ({}, with_kept_memory({})):
        ran = subprocess.run(
            [sys.executable, "-c", FAULTS], env=environment, check=True, capture_output=True, text=True
        )
        counts.append(int(ran.stdout))
    assert counts[1] < counts[0] / 4, f"{counts} page faults for 5 tensors of 48 MiB"
