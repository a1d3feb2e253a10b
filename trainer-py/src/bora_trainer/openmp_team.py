"""torch's own OpenMP threads, for compiled passes of ours.

torch's workers spin for a while after each of its operations, so a second pool of threads has to wait for a core: on
two cores a pass that two threads of ours shared took longer than one alone. Here the workers that spin are given it.
Its runtime is GCC's, or another that understands GCC's entry point; without one a pass runs on the thread that calls.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch

_ASKED = ("omp_get_thread_num", "omp_get_num_threads")


class Team:
    """`run` calls a C function on several threads; `number` and `count`, C functions too, tell it which of how many it
    is. All are addresses.
    """

    def __init__(self, runtime: ctypes.CDLL) -> None:
        self._parallel = runtime.GOMP_parallel
        self._parallel.restype = None
        self._parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        self.number, self.count = (_address(getattr(runtime, name)) for name in _ASKED)

    def run(self, function: int, data: int, threads: int) -> None:
        """On as many `threads` as the runtime grants; returns when all have. `function` and `data` are addresses."""
        self._parallel(function, data, threads, 0)


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


@functools.cache
def team() -> Team | None:
    """None where torch was built without OpenMP, or with a runtime that has not GCC's entry point."""
    if not torch.backends.openmp.is_available():
        return None
    # Asked of torch's library, a name is looked up in the runtime that torch itself is linked with.
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        try:
            runtime = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name))
        except OSError:
            continue
        if all(hasattr(runtime, name) for name in ("GOMP_parallel", *_ASKED)):
            return Team(runtime)
    return None
