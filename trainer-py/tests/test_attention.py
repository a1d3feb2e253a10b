"""Attention over documents against torch's own over whole rows with a mask. docs/performance.md."""

import sys

import pytest
import torch
import torch.nn.functional as F
from tiny_models import FAMILIES, adapter, documents, loaded, random_rows, tiny_model
from transformers import AttentionInterface, AutoModelForCausalLM, LlamaConfig

from bora_trainer import attention
from bora_trainer.attention import DocumentLayout, attend, plain_attention_mask
from bora_trainer.attention_install import install
from bora_trainer.data.batches import pack
from bora_trainer.engine import Engine

ROWS = {
    "one document a row": [[6], [6]],
    "two of one length": [[4, 4], [4, 4], [4, 4]],
    "ragged, padded": [[3, 9, 1], [7], [2, 2, 2, 2], []],
    "no document": [[], []],
    "several classes": [[40, 3], [20, 25], [1]],
}


def _segments(rows: list[list[int]], width: int) -> torch.Tensor:
    segments = torch.full((len(rows), width), -1)
    for n, row in enumerate(rows):
        slots = torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row, dtype=torch.int64))
        segments[n, : len(slots)] = slots
    return segments


@pytest.mark.parametrize(("products", "softcap"), [(True, None), (True, 3.0), (False, None)])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("kept", [True, False])
def test_output_and_gradients_equal_masked_attention(rows, products, softcap, kept, monkeypatch) -> None:
    monkeypatch.setattr(attention, "_KEPT_LENGTH", 1000 if kept else 0)
    monkeypatch.setattr(attention, "_SCORES_AT_ONCE", 200)  # several pieces
    generator = torch.Generator().manual_seed(0)
    width, scaling = max(1, *(sum(row) for row in rows)), 0.3
    segments = _segments(rows, width)

    def leaf(heads: int) -> torch.Tensor:
        drawn = torch.randn(len(rows), width, heads, 8, generator=generator, dtype=torch.float64)
        return drawn.transpose(1, 2).requires_grad_()

    query, key, value = leaf(6), leaf(2), leaf(2)
    wanted = torch.randn(len(rows), width, 6, 8, generator=generator, dtype=torch.float64)
    wanted = wanted * (segments >= 0)[:, :, None, None]
    layout = DocumentLayout.of(rows, width)
    found = attend(query, key, value, layout, scaling=scaling, softcap=softcap, products=products)
    gradients = torch.autograd.grad((found * wanted).sum(), (query, key, value))

    mask = plain_attention_mask(segments, "eager", torch.float64)
    many = [tensor.repeat_interleave(3, dim=1) for tensor in (key, value)]
    scores = query @ many[0].mT * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    expected = ((scores + mask).softmax(-1) @ many[1]).transpose(1, 2)
    real = (segments >= 0)[:, :, None, None].expand_as(expected)
    torch.testing.assert_close(found[real], expected[real], rtol=1e-10, atol=1e-12)
    for one, other in zip(gradients, torch.autograd.grad((expected * wanted).sum(), (query, key, value)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_documents_of_one_length_need_no_indices() -> None:
    assert DocumentLayout.of([[4, 4], [4, 4]], 8).place_M is None
    assert DocumentLayout.of([[4, 4], [4]], 8).place_M is not None


def test_padding_within_a_class_is_bounded() -> None:
    rows = [[length] for length in range(1, 300, 7)]
    layout = DocumentLayout.of(rows, 300)
    assert sum(documents for documents, _ in layout.classes) == len(rows)
    assert len(layout.classes) < 10
    assert sum(documents * length for documents, length in layout.classes) < 1.3 * sum(row[0] for row in rows)


def test_torch_still_refuses_what_products_are_for() -> None:
    """Where torch's kernels learn the soft cap, our products can go."""
    tensor = torch.ones(1, 1, 2, 2)
    with pytest.raises(TypeError):
        F.scaled_dot_product_attention(tensor, tensor, tensor, softcap=3.0)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_attends_over_documents_and_agrees_with_its_plain_path(family: str) -> None:
    found = []
    for plain in (False, True):
        engine = Engine(loaded(tiny_model(family)), adapter(family), plain_attention=plain)
        assert engine.attends_documents is not plain
        rows = random_rows(engine, 2)
        gradient = torch.zeros_like(rows)
        batch = pack([documents([9, 4, 6], 0), documents([13, 5], 1)])
        nats = engine.accumulate(rows, gradient, batch, range(2), torch.ones(2))
        engine.close()
        assert engine.loaded.model.config._attn_implementation == engine.loaded.attention
        found.append((nats, gradient))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=0)
    assert ((found[0][1] - found[1][1]).norm() / found[1][1].norm()).item() < 1e-5


def test_a_model_whose_attention_was_exchanged_is_refused() -> None:
    engine = Engine(loaded(tiny_model("qwen2")), adapter("qwen2"))
    engine.loaded.model.set_attn_implementation("sdpa")
    with pytest.raises(RuntimeError, match="exchanged"):
        engine.nats(None, pack([documents([5, 4])]), range(1))


def test_a_family_that_attends_differently_keeps_its_own_attention() -> None:
    model = tiny_model("qwen2")
    model._supports_attention_backend = False
    assert not install(model)
    assert model.config._attn_implementation == "sdpa"


def test_rounding_through_many_layers_does_not_hide_that_attentions_agree() -> None:
    """Thirty layers in bfloat16: the last hidden states of two right answers differ by percents, no call's do."""
    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=30, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
        vocab_size=64, initializer_range=0.5,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(torch.bfloat16).eval()
    assert install(model)


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_an_attention_that_adds_something_of_its_own_is_kept(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As attention sinks and biases by distance do: a thousandth of the answer is seen."""
    model = tiny_model(family)
    own = model.config._attn_implementation
    assert own is not None
    module = sys.modules[type(model).__module__]

    def different(*inputs, **named):
        answer, weights = usual(*inputs, **named)
        return answer * 1.001, weights

    if own == "eager":
        usual = module.eager_attention_forward
        monkeypatch.setattr(module, "eager_attention_forward", different)
    else:
        usual = AttentionInterface()[own]
        monkeypatch.setitem(AttentionInterface._global_mapping, own, different)
    assert not install(model)
    assert model.config._attn_implementation == own


def test_a_model_that_mixes_neighbours_outside_its_attention_is_not_read_across_documents() -> None:
    """As short convolutions do: beside another document a document's states are not those it has alone."""
    model = tiny_model("qwen2")
    assert install(model)
    attention.switch(model, "sdpa")
    mlp = model.base_model.get_submodule("layers.0.mlp")
    mlp.register_forward_hook(lambda *given: given[-1] + torch.roll(given[-1], 1, 1))
    assert not install(model)
