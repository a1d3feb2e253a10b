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
        if team() is None:
            pytest.skip("torch's OpenMP runtime is not one that is known")
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


Q = {"q": (2, 3, 5, 4), "k": (2, 1, 5, 4), "cos": (2, 5, 4), "sin": (2, 5, 4)}


@pytest.mark.parametrize(
    "other",
    [
        {"cos": (1, 5, 4)},
        {"sin": (1, 5, 4)},
        {"k": (2, 1, 1, 4)},
        {"k": (1, 1, 5, 4)},
        {"q": (2, 1, 5, 4), "cos": (2, 1, 4), "sin": (2, 1, 4)},
    ],
)
def test_shapes_that_a_pass_would_leave_go_to_the_familys_own(other: dict[str, tuple[int, ...]]) -> None:
    q, k, cos, sin = (drawn(shape, torch.float32, seed) for seed, shape in enumerate((Q | other).values()))
    assert fused_rotation._can_rotate(q, k, cos, sin) is False
    ours = fused_rotation._rotation(apply_rotary_pos_emb)(q, k, cos, sin)
    for one, expected in zip(ours, apply_rotary_pos_emb(q, k, cos, sin), strict=True):
        assert torch.equal(one, expected)


def test_other_types_and_other_calls_go_to_the_familys_own() -> None:
    def own(q, k=None, cos=None, sin=None, unsqueeze_dim=1):  # queries alone too, as some family's indexer has it
        return q, k, cos, sin, unsqueeze_dim

    rotate = fused_rotation._rotation(own)  # pyright: ignore[reportArgumentType]
    q, k, cos, sin = (drawn(shape, torch.float32, 0) for shape in Q.values())
    assert fused_rotation._can_rotate(q, k, cos, sin)
    assert rotate(q, cos=cos, sin=sin, unsqueeze_dim=2) == (q, None, cos, sin, 2)
    assert rotate(q, k, cos, sin, 2) == (q, k, cos, sin, 2)
    for wrong in ((q.double(), k, cos, sin), (q, k.bfloat16(), cos, sin), (q, k, cos, sin.to("meta"))):
        assert rotate(*wrong) == (*wrong, 1)
    odd = [part[..., :3] for part in (q, k, cos, sin)]
    assert rotate(*odd) == (*odd, 1)


@DTYPES
@pytest.mark.parametrize("family", FAMILIES)
def test_nats_and_gradients_of_a_model_stay(family: str, dtype: torch.dtype) -> None:
    found, bound = [], {torch.float32: 1e-5, torch.bfloat16: 3e-2}[dtype]
    for plain in (False, True):
        engine = Engine(loaded(tiny_model(family).to(dtype)), adapter(family), plain_base=plain)  # pyright: ignore[reportArgumentType]
        assert engine.fused_parts == ([] if plain else FUSED[family])
        rows = random_rows(engine, 2).float()
        gradient = torch.zeros_like(rows)
        batch = pack([documents([9, 4, 6], 0), documents([13, 5], 1)])
        found.append((engine.accumulate(rows, gradient, batch, range(2), torch.ones(2)), gradient))
        engine.close()
        assert all("forward" not in module.__dict__ for module in engine.loaded.model.modules())
    torch.testing.assert_close(found[0][0], found[1][0], rtol=bound, atol=0)
    assert ((found[0][1] - found[1][1]).norm() / found[1][1].norm()).item() < bound
