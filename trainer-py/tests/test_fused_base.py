"""Rotations and whole models in one pass an element-wise part give what transformers' own operations give."""

import pytest
import torch
from tiny_models import FAMILIES, adapter, documents, loaded, random_rows, tiny_model
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from bora_trainer import compiled_passes, fused_rotation
from bora_trainer.data.batches import pack
from bora_trainer.engine import Engine
from bora_trainer.openmp_team import team

LLAMAS = {"llama-tied", "llama-untied", "qwen2", "qwen3"}
FUSED = {"gpt2": [], "opt": [], "gemma2": ["rotations"]} | dict.fromkeys(LLAMAS, ["norms", "rotations"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


@pytest.fixture(params=["one thread", "parts"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass by one thread, and one that three share."""
    if request.param == "parts":
        assert team() is not None
        monkeypatch.setattr(compiled_passes, "_ALONE", -1)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)


def drawn(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul_(3).to(dtype)


@DTYPES
@pytest.mark.parametrize("shape", [(1, 3, 1, 2), (2, 4, 7, 8), (3, 1, 5, 6), (1, 2, 0, 4)])
@pytest.mark.usefixtures("parts")
def test_a_rotation_and_its_gradient_have_transformers_bits(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    q, k, dq, dk = (drawn(shape, dtype, seed) for seed in range(4))
    cos, sin = (drawn((shape[0], *shape[2:]), dtype, seed) for seed in (5, 6))
    ours = fused_rotation._answer(fused_rotation._rotation(apply_rotary_pos_emb), q, k, cos, sin, dq, dk)
    theirs = fused_rotation._answer(apply_rotary_pos_emb, q, k, cos, sin, dq, dk)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def test_what_a_rotation_was_not_asked_with_goes_to_the_familys_own() -> None:
    q, cos = drawn((2, 3, 5, 4), torch.float32, 0), drawn((1, 5, 4), torch.float32, 1)
    rotate = fused_rotation._rotation(apply_rotary_pos_emb)
    for one, other in zip(rotate(q, q, cos, cos), apply_rotary_pos_emb(q, q, cos, cos), strict=True):
        assert torch.equal(one, other)
    rows = q.transpose(1, 2)
    wide = cos.expand(2, -1, -1)
    found = rotate(rows, rows, wide, wide, unsqueeze_dim=2)
    assert torch.equal(found[0].transpose(1, 2), apply_rotary_pos_emb(q, q, wide, wide)[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_nats_and_gradients_of_a_model_stay(family: str) -> None:
    found = []
    for plain in (False, True):
        engine = Engine(loaded(tiny_model(family)), adapter(family), plain_base=plain)
        assert engine.fused_parts == ([] if plain else FUSED[family])
        rows = random_rows(engine, 2)
        gradient = torch.zeros_like(rows)
        batch = pack([documents([9, 4, 6], 0), documents([13, 5], 1)])
        found.append((engine.accumulate(rows, gradient, batch, range(2), torch.ones(2)), gradient))
        engine.close()
        assert all("forward" not in module.__dict__ for module in engine.loaded.model.modules())
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=0)
    assert ((found[0][1] - found[1][1]).norm() / found[1][1].norm()).item() < 1e-5
