"""Chooses once, for all attempts of a run, what may change rounding: device, dtype of the base, threads, micro-batches.

Measurements behind the rules: docs/log.md.
"""

import math
import os
import time
from pathlib import Path

import psutil
import torch

from bora_trainer.engine_support import refuse_without_compiler, refuse_without_graphs
from bora_trainer.errors import TrainerError
from bora_trainer.spec import Dtype, EngineSpec, Execution

_ACTIVATION_BYTES = 3 * 2**29  # of a micro-batch on a CPU: from about there on its speed is flat (docs/performance.md)
_ACTIVATION_SHARE = 0.25  # of the device's free memory, at most
_MOST_TOKENS = 16384  # of a micro-batch: a tiny model wins nothing beyond either
_PROBE_SIZE = 512  # of the square matrices; a product takes milliseconds
_PROBE_SECONDS = 0.1  # of both dtypes together
_NATIVE_SPEEDUP = 1.5  # emulated bfloat16 is tens of times slower than float32, native at least twice as fast


def choose_execution(
    requested: Dtype,
    chosen: Execution | None,
    *,
    rows: int,
    tokens_per_row: int,
    activation_bytes_per_token: int,
    engine: EngineSpec = EngineSpec(),  # noqa: B008 - frozen
) -> Execution:
    """What the first attempt chooses, or `chosen` again where an earlier attempt has.

    `rows` is G, `tokens_per_row` the token budget of a row and step, `activation_bytes_per_token` as in
    `ModelFacts`. Raises `TrainerError("dtype_unsupported")` for
    bfloat16 on a processor without it, `TrainerError("device_error")` when the earlier attempt's device is not here,
    `TrainerError("engine_unsupported")` when this machine cannot do what `engine` asks for.
    """
    if chosen is not None:
        _refuse_other_machine(chosen)
        return chosen
    device = default_device()
    _refuse_unsupported(engine, device)
    dtype, reason = choose_dtype(requested, device)
    most = micro_batch_tokens(device, dtype, activation_bytes_per_token) // max(1, tokens_per_row)
    return Execution(
        dtype, reason, available_threads(), max(1, min(rows, most)), device, prefix_cache=True, engine=engine
    )


def micro_batch_tokens(device: str, dtype: Dtype, activation_bytes_per_token: int) -> int:
    """Tokens of a training micro-batch at most, pads included; one row is computed even when it has more.

    `activation_bytes_per_token` as in `ModelFacts`. Depends on the device's free memory where that is short.
    """
    bytes_per_token = max(1, activation_bytes_per_token // (2 if dtype == "bfloat16" else 1))
    free, _ = device_memory(device)
    budget = int(free * _ACTIVATION_SHARE)
    if device == "cpu":
        budget = min(budget, _ACTIVATION_BYTES)
    return min(budget // bytes_per_token, _MOST_TOKENS)


def device_memory(device: str) -> tuple[int, int]:
    """Bytes that are free now, and in all: the card's, or this machine's."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def default_device() -> str:
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def choose_dtype(requested: Dtype, device: str) -> tuple[Dtype, str]:
    """The dtype of the frozen base and why. Adapters and optimiser state are float32 always."""
    if requested == "float32":
        return "float32", "asked for"
    native, reason = native_bfloat16(device)
    if native:
        return "bfloat16", "asked for" if requested == "bfloat16" else reason
    if requested == "bfloat16":
        raise TrainerError(
            "dtype_unsupported",
            f"bfloat16 on {device}: {reason}",
            "set model.dtype to auto or float32: emulated bfloat16 is 44 to 499 times slower",
        )
    return "float32", reason


def native_bfloat16(device: str) -> tuple[bool, str]:
    """Whether `device` multiplies bfloat16 matrices in hardware, and the evidence in words."""
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native, f"{torch.cuda.get_device_name(device)} {'has' if native else 'lacks'} bfloat16"
    flags = sorted(flag for flag in _bfloat16_flags() if flag)
    if not flags:
        return False, "the processor has neither avx512_bf16 nor amx_bf16"
    speedup = _product_speedup()
    words = f"{' and '.join(flags)}, a matrix product is {speedup:.1f} times as fast as in float32"
    return speedup >= _NATIVE_SPEEDUP, words


def available_threads() -> int:
    """OMP_NUM_THREADS, or the physical cores this process may use (affinity and cgroup quota)."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, psutil.cpu_count(logical=False) or affinity, _cgroup_cores() or affinity))


def torch_dtype(dtype: Dtype) -> torch.dtype:
    assert dtype != "auto", "an execution has chosen"
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def apply_threads(execution: Execution) -> None:
    """For this process; sums in kernels depend on it, so it is part of the execution."""
    torch.set_num_threads(execution.threads)


def _refuse_other_machine(chosen: Execution) -> None:
    if chosen.device != "cpu" and (
        not torch.cuda.is_available() or torch.device(chosen.device).index >= torch.cuda.device_count()
    ):
        raise TrainerError(
            "device_error",
            f"the run began on {chosen.device}, which is not here",
            "resume on the machine it began on, or start the sweep anew",
            "infra",
        )
    if chosen.dtype == "bfloat16":
        choose_dtype("bfloat16", chosen.device)
    _refuse_unsupported(chosen.engine, chosen.device)


def _refuse_unsupported(engine: EngineSpec, device: str) -> None:
    kind = torch.device(device).type
    if engine.compile:
        refuse_without_compiler(kind)
    if engine.cuda_graph:
        refuse_without_graphs(kind)


def _bfloat16_flags() -> set[str]:
    known = torch.cpu.get_capabilities()
    return {flag for flag in ("avx512_bf16", "amx_bf16", "sve_bf16", "arm_bf16") if known.get(flag)}


def _product_speedup() -> float:
    """How many times as fast a product of two matrices is in bfloat16 as in float32.

    On one core, the fastest of some products each, in turn: threads that wait for each other on a busy machine would
    measure its other work.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fastest = _fastest_products()
    finally:
        torch.set_num_threads(threads)
    return fastest[torch.float32] / fastest[torch.bfloat16]


def _fastest_products() -> dict[torch.dtype, float]:
    """Seconds, by dtype."""
    pairs = {dtype: torch.randn(2, _PROBE_SIZE, _PROBE_SIZE).to(dtype) for dtype in (torch.float32, torch.bfloat16)}
    fastest = dict.fromkeys(pairs, math.inf)
    for left, right in pairs.values():
        torch.mm(left, right)  # the first call sets kernels up
    began = time.perf_counter()
    while time.perf_counter() - began < _PROBE_SECONDS or math.inf in fastest.values():
        for dtype, (left, right) in pairs.items():
            start = time.perf_counter()
            torch.mm(left, right)
            fastest[dtype] = min(fastest[dtype], time.perf_counter() - start)
    return fastest


def _cgroup_cores() -> int | None:
    """Whole cores of the cgroup's CPU quota, rounded up; None without a quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()[:2]
        return None if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError):
        return None
