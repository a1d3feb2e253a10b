"""Compiled layers give what plain ones give, and are made once for all layers."""

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import adapter, documents, loaded, random_rows
from torch._dynamo.utils import counters
from torch._inductor import config as inductor
from transformers import PreTrainedModel
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

from bora_trainer.compiled_layers import compile_layers
from bora_trainer.data.batches import pack
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError

NO_COMPILER = (shutil.which("g++") is None and shutil.which("clang++") is None) or not Path(
    sysconfig.get_path("include"), "Python.h"
).exists()
needs_compiler = pytest.mark.skipif(NO_COMPILER, reason="no C++ compiler for torch.compile")
TASKS = 2
WEIGHTS = torch.tensor([2.0, 0.5])
DOCUMENTS = [documents([9, 4, 6], 0), documents([13, 5], 1)]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def llama(layers: int) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = LlamaConfig(vocab_size=61, num_hidden_layers=layers, initializer_range=0.15, **sizes)
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config).requires_grad_(False).eval()


@needs_compiler
@pytest.mark.slow
def test_compiled_layers_give_the_same_gradients_and_nats() -> None:
    plain = Engine(loaded(llama(2)), adapter("llama-tied"))
    compiled = Engine(loaded(llama(2)), adapter("llama-tied"), compiled=True)
    rows = random_rows(plain, TASKS)
    wanted, found = torch.zeros_like(rows), torch.zeros_like(rows)
    nats = plain.accumulate(rows, wanted, pack(DOCUMENTS), range(TASKS), WEIGHTS)
    again = compiled.accumulate(rows, found, pack(DOCUMENTS), range(TASKS), WEIGHTS)
    assert counters["stats"]["unique_graphs"] > 0, "nothing was compiled"
    torch.testing.assert_close(again, nats, rtol=1e-5, atol=0)
    assert (found - wanted).norm() < 1e-5 * wanted.norm()


def _graphs(layers: int) -> int:
    """How many graphs are made of a model, in training and in an evaluation, for micro-batches of several widths."""
    torch._dynamo.reset()
    counters.clear()
    engine = Engine(loaded(llama(layers)), adapter("llama-tied"), plain_base=True)  # as an engine that compiles has it
    compile_layers(engine.loaded.model, engine.lora.modules, backend="eager")
    rows = random_rows(engine, TASKS)
    for longest in (5, 7, 11):
        batch = pack([documents([longest, 3], task) for task in range(TASKS)])
        engine.accumulate(rows, torch.zeros_like(rows), batch, range(TASKS), WEIGHTS)
        engine.nats(rows, batch, range(TASKS))
    assert not counters["unimplemented"]
    return counters["stats"]["unique_graphs"]


@needs_compiler
@pytest.mark.slow
def test_one_compiled_layer_serves_all() -> None:
    assert _graphs(4) == _graphs(2) > 0


@needs_compiler
def test_layers_below_the_adapters_and_the_engine_that_is_closed_are_not_compiled() -> None:
    engine = Engine(loaded(llama(3)), adapter("llama-tied", layers=(1, 2)), compiled=True)
    layers: Any = engine.loaded.model.base_model.layers
    assert [layer._compiled_call_impl is not None for layer in layers] == [False, True, True]
    engine.close()
    assert all(layer._compiled_call_impl is None for layer in layers)


@needs_compiler
def test_layers_that_are_no_list_are_refused() -> None:
    engine = Engine(loaded(llama(2)), adapter("llama-tied"))
    with pytest.raises(TrainerError, match="not in one list") as raised:
        compile_layers(engine.loaded.model, ["lm_head"])
    assert raised.value.code == "engine_unsupported"


def test_without_a_compiler_it_is_refused() -> None:
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(TrainerError, match=r"no C\+\+ compiler") as raised,
    ):
        Engine(loaded(llama(2)), adapter("llama-tied"), compiled=True)
    assert raised.value.code == "engine_unsupported" and "g++" in raised.value.hint
