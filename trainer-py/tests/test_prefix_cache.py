"""The frozen-prefix cache changes nothing but the work: the same nats and gradients. docs/performance.md."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from prefix_caches import (
    DOCUMENTS,
    LENGTHS,
    TASKS,
    TOP,
    WEIGHTS,
    dataset,
    engine_of,
    folder,
    states_file,
    top_layer,
    warmed,
)
from tiny_models import CONFIGS, FAMILIES, adapter, loaded, random_rows, tiny_model
from tiny_runs import Tiny
from torch import nn
from transformers import AutoModelForCausalLM

from bora_trainer.data import Dataset, pack
from bora_trainer.engine import Engine
from bora_trainer.evaluate import evaluate
from bora_trainer.frozen_prefix import Cut, find_cut
from bora_trainer.models import model_facts
from bora_trainer.prefix_cache import distinct_documents, open_cache, prefix_cache_bytes


def gradients(engine: Engine) -> tuple[torch.Tensor, torch.Tensor]:
    rows = random_rows(engine, TASKS)
    gradient = torch.zeros_like(rows)
    return engine.accumulate(rows, gradient, pack(DOCUMENTS), range(TASKS), WEIGHTS), gradient


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(("family", "layers"), [(one, layers) for one in FAMILIES for layers in ((1,), (1, 2), (2,))])
def test_gradients_and_nats_equal_those_without(tmp_path: Path, family: str, layers: tuple[int, ...]) -> None:
    engine = engine_of(family, layers)
    assert engine.prefix is not None and engine.prefix.cut.lowest == layers[0]
    nats, gradient = gradients(engine)
    alone = evaluate(engine, None, DOCUMENTS)
    adapted = evaluate(engine, random_rows(engine, TASKS), DOCUMENTS)
    warmed(engine, tmp_path)
    for found, expected in zip(gradients(engine), (nats, gradient), strict=True):
        assert error(found, expected) < 1e-5
    for rows, expected in ((None, alone), (random_rows(engine, TASKS), adapted)):
        for (document, found), (other, value) in zip(evaluate(engine, rows, DOCUMENTS), expected, strict=True):
            assert document is other and found == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_shapes_are_those_of_the_filling_the_bits_are_the_same(tmp_path: Path, family: str) -> None:
    """One document a row, in the order of the file: the lower layers see the batch that they would see without."""
    engine, data = engine_of(family), dataset()
    ordered = distinct_documents(data.tasks)
    rows, batch = random_rows(engine, len(ordered)), pack([[document] for document in ordered])
    weights = torch.linspace(1, 2, len(ordered))
    found = []
    for _ in range(2):
        gradient = torch.zeros_like(rows)
        found.append((engine.accumulate(rows, gradient, batch, range(len(ordered)), weights), gradient))
        warmed(engine, tmp_path, data)
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("family", ["llama-tied", "gpt2", "opt"])
def test_in_bfloat16_the_states_are_those_of_the_model(tmp_path: Path, family: str) -> None:
    engine = engine_of(family, dtype=torch.bfloat16)
    expected = evaluate(engine, None, DOCUMENTS)
    cache = warmed(engine, tmp_path)
    assert cache.states_MH.dtype == torch.bfloat16
    for (_, found), (_, value) in zip(evaluate(engine, None, DOCUMENTS), expected, strict=True):
        assert found == pytest.approx(value, rel=1e-2)


def test_the_models_own_attention_reads_the_states_too(tmp_path: Path) -> None:
    engine = engine_of("llama-tied", plain_attention=True)
    expected = gradients(engine)
    warmed(engine, tmp_path)
    for found, value in zip(gradients(engine), expected, strict=True):
        assert error(found, value) < 1e-5


def test_layers_below_the_cut_are_not_computed(tmp_path: Path) -> None:
    engine = engine_of("llama-tied", (1, 2))
    warmed(engine, tmp_path)
    calls: Counter[int] = Counter()
    for name, module in engine.loaded.model.named_modules():
        if isinstance(module, nn.Linear) and ".layers." in name:
            number = int(name.split(".layers.")[1].split(".")[0])
            module.register_forward_hook(lambda *_, number=number: calls.update([number]))
    gradients(engine)
    assert calls == {1: 7, 2: 7}  # each linear module once
    engine.close()
    assert not any("forward" in layer.__dict__ for layer in engine.loaded.model.model.layers)


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (["model.layers.3.self_attn.q_proj", "model.layers.2.mlp.up_proj"], Cut("model.layers", 2)),
        (["transformer.h.11.attn.c_attn"], Cut("transformer.h", 11)),
        (["model.layers.5.mlp.experts.0.w1"], Cut("model.layers", 5)),
        (["model.layers.0.self_attn.q_proj", "model.layers.9.self_attn.q_proj"], None),
        (["model.layers.3.self_attn.q_proj", "model.project_in"], None),
        (["encoder.layers.3.q_proj", "decoder.layers.3.q_proj"], None),
    ],
)
def test_the_cut_is_the_lowest_adapted_decoder_layer(modules: list[str], expected: Cut | None) -> None:
    assert find_cut(modules) == expected


def test_with_every_layer_adapted_there_is_nothing_to_keep(tmp_path: Path) -> None:
    engine = engine_of("gpt2", ())
    assert engine.prefix is None
    assert open_cache(engine, dataset(), folder(tmp_path)) == (None, "")
    assert not (tmp_path / "states").exists()


def test_documents_with_the_same_tokens_are_kept_once(tmp_path: Path) -> None:
    twin = dataclasses.replace(DOCUMENTS[0][0], task=1, id="twin")
    cache = warmed(engine_of("llama-tied"), tmp_path, dataset([DOCUMENTS[0], [*DOCUMENTS[1], twin]]))
    assert cache.tokens == sum(LENGTHS[0]) + sum(LENGTHS[1])
    assert states_file(tmp_path).stat().st_size == cache.tokens * 32 * 4


def test_the_bytes_are_known_before(tiny: Tiny, tmp_path: Path) -> None:
    spec = top_layer(tiny.spec([0.0]))
    data = tiny.dataset()
    expected = prefix_cache_bytes(model_facts(spec.model, spec.adapter), data, torch.float32)
    warmed(Engine(tiny.loaded(), spec.adapter), tmp_path, data)
    assert states_file(tmp_path).stat().st_size == expected > 0
    assert prefix_cache_bytes(model_facts(spec.model, tiny.spec([0.0]).adapter), data, torch.float32) == 0


def _changed_tokens(engine: Engine, data: Dataset) -> tuple[Engine, Dataset]:
    first = data.tasks[0].train[0]
    other = dataclasses.replace(first, tokens=(*first.tokens[:-1], first.tokens[-1] ^ 1))
    rows = [[other, *DOCUMENTS[0][1:]], *DOCUMENTS[1:]]
    return engine, dataset(rows)


def _changed_model(engine: Engine, data: Dataset) -> tuple[Engine, Dataset]:
    engine.loaded = dataclasses.replace(engine.loaded, hash="1" * 64)
    return engine, data


CHANGES: dict[str, Callable[[Engine, Dataset], tuple[Engine, Dataset]]] = {
    "tokens": _changed_tokens,
    "model": _changed_model,
    "dtype": lambda _, data: (engine_of("llama-tied", dtype=torch.bfloat16), data),
    "cut": lambda _, data: (engine_of("llama-tied", (1, 2)), data),
    "attention": lambda _, data: (engine_of("llama-tied", plain_attention=True), data),
    "fused": lambda _, data: (engine_of("llama-tied", plain_base=True), data),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_changes_the_states_changes_the_key(tmp_path: Path, change) -> None:
    warmed(engine_of("llama-tied"), tmp_path)
    warmed(engine_of("llama-tied"), tmp_path, dataset([*reversed(DOCUMENTS)]))  # the same documents in another order
    assert len(list((tmp_path / "states").glob("*/states.bin"))) == 1
    engine, data = change(engine_of("llama-tied"), dataset())
    warmed(engine, tmp_path, data)
    assert len(list((tmp_path / "states").glob("*/states.bin"))) == 2


class Reusing(nn.Module):
    """A layer that adds what the first layer saw: more than the states that enter it."""

    def __init__(self, layer: nn.Module, first: nn.Module) -> None:
        super().__init__()
        self.layer, self.seen = layer, torch.zeros(1)
        first.register_forward_hook(lambda _module, _inputs, output: setattr(self, "seen", output))

    def forward(self, hidden_states: torch.Tensor, **options) -> torch.Tensor:
        seen = self.seen if self.seen.shape == hidden_states.shape else torch.zeros_like(hidden_states)
        return self.layer(hidden_states, **options) + 0.1 * seen


def test_a_family_whose_upper_layers_read_more_is_refused(tmp_path: Path) -> None:
    model = tiny_model("llama-tied")
    layers = model.model.layers
    layers[2] = Reusing(layers[2], layers[0].mlp)
    engine = Engine(loaded(model), dataclasses.replace(adapter("llama-tied", layers=TOP), targets=("down_proj",)))
    cache, words = open_cache(engine, dataset(), folder(tmp_path))
    assert cache is None and "upper layers of LlamaForCausalLM need more of the lower ones" in words
    assert error(*(gradients(engine)[1] for _ in range(2))) == 0  # and the engine computes as before


def test_a_family_with_states_of_another_shape_is_refused(tmp_path: Path) -> None:
    from transformers.models.gemma3n import Gemma3nTextConfig

    sizes = {key: CONFIGS["gemma2"].to_dict()[key] for key in ("vocab_size", "hidden_size", "head_dim")}
    config = Gemma3nTextConfig(
        **sizes, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        num_kv_shared_layers=2, vocab_size_per_layer_input=61, hidden_size_per_layer_input=8, laurel_rank=4,
        activation_sparsity_pattern=[0.0] * 4, layer_types=["full_attention"] * 4, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").requires_grad_(False).eval()
    engine = Engine(loaded(model), adapter("llama-tied", layers=(3,)))
    cache, words = open_cache(engine, dataset(), folder(tmp_path))
    assert cache is None and "its layers pass on [4, 2, 4, 32], not [rows, tokens, hidden]" in words
