"""torch's own OpenMP threads, for compiled passes of ours.

torch's workers spin for a while after each of its operations, so a second pool of threads has to wait for a core: on
two cores a pass that two threads of ours shared took longer than one alone. Here the workers that spin are given it.
Its runtime is GCC's, or another that understands GCC's entry point; without one a pass runs on the thread that calls.
"""

from __future__ import annotations

import ctypes
import functools
import re
from pathlib import Path

import torch

_RUNTIME = re.compile(r"/lib(gomp|iomp5|omp)\b[^/]*\.so[.\d]*$")
_ASKED = ("omp_get_thread_num", "omp_get_num_threads")


class Team:
    """`run` calls a C function on several threads; in it `number` and `count`, C functions too, tell which of how many
    it is.
    """

    def __init__(self, runtime: ctypes.CDLL) -> None:
        self._parallel = runtime.GOMP_parallel
        self._parallel.restype = None
        self._parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        self.number, self.count = (ctypes.CFUNCTYPE(ctypes.c_int)((name, runtime)) for name in _ASKED)

    def run(self, function: int, data: int, threads: int) -> None:
        """On as many `threads` as the runtime grants; returns when all have. `function` and `data` are addresses."""
        self._parallel(function, data, threads, 0)


@functools.cache
def team() -> Team | None:
    """None where torch was built without OpenMP, or with a runtime that is not known here."""
    if not torch.backends.openmp.is_available():
        return None
    beside = Path(torch.__file__).parent
    found = sorted(_loaded(), key=lambda path: beside not in path.parents)  # torch's own before a library's beside it
    for path in found:
        runtime = ctypes.CDLL(str(path))
        if all(hasattr(runtime, name) for name in ("GOMP_parallel", *_ASKED)):
            return Team(runtime)
    return None


def _loaded() -> list[Path]:
    """OpenMP runtimes of this process; none on systems without /proc."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    paths = dict.fromkeys(line.split(maxsplit=5)[-1] for line in lines)
    return [Path(path) for path in paths if _RUNTIME.search(path)]
