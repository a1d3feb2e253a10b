"""What an execution is made of, and what is refused."""

import dataclasses
import math

import pytest
import torch
from torch._inductor import config as inductor

from bora_trainer import device
from bora_trainer.errors import TrainerError
from bora_trainer.spec import EngineSpec, Execution

MIB = 2**20


@pytest.fixture
def plain_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "device_memory", lambda _: (64 * 1024 * MIB, 64 * 1024 * MIB))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False, "amx_bf16": False})


def choose(
    requested: str = "auto",
    chosen: Execution | None = None,
    rows: int = 30,
    engine: EngineSpec = EngineSpec(),  # noqa: B008 - frozen
    **sizes: int,
) -> Execution:
    sizes = {"tokens_per_row": 96, "activation_bytes_per_token": MIB} | sizes
    return device.choose_execution(requested, chosen, rows=rows, engine=engine, **sizes)  # pyright: ignore[reportArgumentType]


def rates(monkeypatch: pytest.MonkeyPatch, bfloat16: float) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(device, "_product_speedup", lambda: bfloat16)


@pytest.mark.usefixtures("plain_cpu")
def test_bfloat16_without_native_support_is_refused_and_auto_is_float32() -> None:
    with pytest.raises(TrainerError, match="neither avx512_bf16 nor amx_bf16") as raised:
        choose("bfloat16")
    assert raised.value.code == "dtype_unsupported"
    assert choose("auto").dtype == "float32" and "neither" in choose("auto").dtype_reason
    assert choose("float32").dtype_reason == "asked for"


@pytest.mark.usefixtures("plain_cpu")
@pytest.mark.parametrize(("speedup", "dtype"), [(4.5, "bfloat16"), (0.02, "float32")])
def test_a_probe_confirms_what_the_processor_claims(
    monkeypatch: pytest.MonkeyPatch, speedup: float, dtype: str
) -> None:
    rates(monkeypatch, speedup)
    found = choose("auto")
    assert found.dtype == dtype and "avx512_bf16" in found.dtype_reason and f"{speedup:.1f} times" in found.dtype_reason


@pytest.mark.usefixtures("plain_cpu")
def test_what_an_earlier_attempt_chose_is_kept_or_refused() -> None:
    earlier = dataclasses.replace(choose("float32"), threads=7, rows_per_micro_batch=3)
    assert choose("auto", earlier) == earlier
    with pytest.raises(TrainerError) as raised:
        choose("auto", dataclasses.replace(earlier, dtype="bfloat16"))
    assert raised.value.code == "dtype_unsupported"
    with pytest.raises(TrainerError) as raised:
        choose("auto", dataclasses.replace(earlier, device="cuda:0"))
    assert raised.value.code == "device_error" and raised.value.domain == "infra"


@pytest.mark.usefixtures("plain_cpu")
def test_graphs_are_refused_without_a_graphics_card_whether_asked_for_now_or_by_an_earlier_attempt() -> None:
    graphs = EngineSpec(cuda_graph=True)
    earlier = dataclasses.replace(choose("float32"), engine=graphs)
    for refused in (lambda: choose("float32", engine=graphs), lambda: choose("float32", earlier)):
        with pytest.raises(TrainerError, match="engine.cudaGraph on cpu") as raised:
            refused()
        assert raised.value.code == "engine_unsupported" and raised.value.domain == "user"


@pytest.mark.usefixtures("plain_cpu")
def test_compiled_layers_are_refused_without_a_compiler() -> None:
    absent = inductor.patch({"cpp.cxx": ("no-such-compiler",)})
    with absent, pytest.raises(TrainerError, match="engine.compile") as raised:
        choose("float32", engine=EngineSpec(compile=True))
    assert raised.value.code == "engine_unsupported"


@pytest.mark.usefixtures("plain_cpu")
def test_the_first_attempts_engine_is_kept() -> None:
    earlier = choose("float32")
    assert earlier.engine == EngineSpec()
    assert choose("float32", earlier, engine=EngineSpec(cuda_graph=True)) == earlier


@pytest.mark.usefixtures("plain_cpu")
def test_micro_batches_fill_the_budget_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose().rows_per_micro_batch == 1536 // 96
    assert choose(rows=4).rows_per_micro_batch == 4
    assert choose(tokens_per_row=5000).rows_per_micro_batch == 1
    assert choose(rows=10**6, activation_bytes_per_token=1).rows_per_micro_batch == 16384 // 96
    rates(monkeypatch, 4.0)
    assert choose(rows=100).rows_per_micro_batch == 3072 // 96


@pytest.mark.usefixtures("plain_cpu")
def test_micro_batches_take_a_quarter_of_what_is_free_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "device_memory", lambda _: (2048 * MIB, 64 * 1024 * MIB))
    assert choose().rows_per_micro_batch == 512 // 96


def test_free_memory_is_part_of_all_memory() -> None:
    free, total = device.device_memory("cpu")
    assert 0 < free <= total


def test_threads_follow_the_environment_or_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert device.available_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr(device, "_cgroup_cores", lambda: 1)
    assert device.available_threads() == 1


def test_the_probe_measures_a_rate() -> None:
    threads = torch.get_num_threads()
    assert 0 < device._product_speedup() < math.inf
    assert torch.get_num_threads() == threads
