"""How much memory some work takes beyond what was there before: measured, not derived."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil
import torch


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


def resident_bytes() -> int:
    """Of this process, now."""
    return psutil.Process().memory_info().rss


def _peak_on_cuda(work: Callable[[], object], device: torch.device) -> tuple[int, int]:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    kept_alive = work()
    torch.cuda.synchronize(device)
    peak, after = torch.cuda.max_memory_allocated(device), torch.cuda.memory_allocated(device)
    del kept_alive
    return peak - before, after - before
