"""How the C library hands out memory to the process that trains. Never imports torch: the server reads this too.

Tensors of a training step come and go in the same sizes at every step. By default glibc maps and unmaps each large one,
so every page of it is zeroed by the kernel and faulted in anew: a fifth of a step of SmolLM2-135M in bfloat16
(docs/performance.md). Here freed memory stays with the process, in huge pages where the kernel lends them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

NAME = "GLIBC_TUNABLES"
_TUNABLES = {
    "glibc.malloc.hugetlb": 1,  # asks for transparent huge pages
    "glibc.malloc.mmap_threshold": 1 << 40,  # nothing is mapped by itself (glibc before 2.35: up to 32 MiB)
    "glibc.malloc.trim_threshold": 1 << 40,  # and nothing given back but on demand (allocations.return_free_memory)
}


def with_kept_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for a process that trains; what its user has set of this prevails. Other C libraries ignore it."""
    said = environment.get(NAME, "")
    mine = [f"{name}={value}" for name, value in _TUNABLES.items() if f"{name}=" not in said]
    return {**environment, NAME: ":".join([*filter(None, [said]), *mine])}


def restart_with_kept_memory() -> None:
    """The C library reads this once, at the start: a process that measures begins anew as the trainer's child would."""
    environment = with_kept_memory(os.environ)
    if environment[NAME] != os.environ.get(NAME):
        os.execve(sys.executable, sys.orig_argv, environment)
