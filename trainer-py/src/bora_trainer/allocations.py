"""How much memory some work takes beyond what was there before: measured, not derived."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

_RESET_PEAK = "5"  # what /proc/self/clear_refs understands as: the highest resident size is the present one


def peak_of(work: Callable[[], object], device: torch.device) -> tuple[int, int]:
    """Bytes of tensors allocated at once while `work` ran, and those that its result keeps, both beyond the start.

    On a CPU every call of torch's allocator is recorded, temporaries inside kernels included; what libraries allocate
    by themselves is not. On a GPU the caching allocator counts.
    """
    if device.type == "cuda":
        return _peak_on_cuda(work, device)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it tells of itself otherwise
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as recorded:
        kept_alive = work()
    assert recorded.profiler is not None
    found = recorded.profiler.kineto_results
    assert found is not None
    events = sorted((event.start_ns(), event.nbytes()) for event in found.events() if event.name() == "[memory]")  # pyright: ignore[reportAttributeAccessIssue]
    now = peak = 0
    for _, size in events:
        now += size
        peak = max(peak, now)
    del kept_alive
    return peak, now


def resident_peak_of(work: Callable[[], object], device: torch.device) -> int:
    """Bytes by which the device's memory in use grew at most while `work` ran.

    On a CPU that is more than the tensors that lived at once: tensors of many sizes that come and go leave gaps in the
    C library's heap, 0.7 times as much again in a training step. Where the process's peak cannot be set back (it can on
    Linux) tensors alone are counted.
    """
    if device.type != "cpu":
        return peak_of(work, device)[0]
    return_free_memory()
    before = resident_bytes()
    if not reset_peak():
        return peak_of(work, device)[0]
    work()
    return max(0, _peak_resident_bytes() - before)


def resident_bytes() -> int:
    """Of this process, now."""
    return psutil.Process().memory_info().rss


def return_free_memory() -> None:
    """Gives the system back what the heap holds and nobody uses, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, "ascii")
    except OSError:
        return False
    return True


def _peak_resident_bytes() -> int:
    """The highest since `reset_peak`."""
    lines = Path("/proc/self/status").read_text("ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _peak_on_cuda(work: Callable[[], object], device: torch.device) -> tuple[int, int]:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    kept_alive = work()
    torch.cuda.synchronize(device)
    peak, after = torch.cuda.max_memory_allocated(device), torch.cuda.memory_allocated(device)
    del kept_alive
    return peak - before, after - before
