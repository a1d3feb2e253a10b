"""Modules that read one input are computed together, and give what each by itself gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from types import ModuleType

import cards
import pytest
import torch
from tiny_models import FAMILIES, TARGETS, adapter, documents, loaded, random_rows, tiny_model
from torch import Tensor, nn

from bora_trainer.adapters import adapted_linear, compiled_change
from bora_trainer.adapters.adapted_linear import AdaptedLinear, RowsInHand, SharedInput
from bora_trainer.adapters.attached import _beside, _runs, _siblings
from bora_trainer.adapters.layout import Layout
from bora_trainer.data.batches import pack
from bora_trainer.data.documents import Document
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.row_layout import RowLayout
from bora_trainer.spec import AdapterSpec


@pytest.fixture(params=["passes", "kernels", "products"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Compiled passes, as a CPU takes, kernels, as a card does, or batched products: it ran, and the others did not."""
    ways: dict[str, ModuleType] = {"passes": compiled_change}
    if request.param == "kernels":
        pytest.importorskip("triton", reason="Triton is not installed")
        from bora_trainer.adapters import card_change

        ways["kernels"] = card_change
    calls = []
    for name, module in ways.items():
        monkeypatch.setattr(module, "add_change", noted(module.add_change, calls, name))
    monkeypatch.setattr(adapted_linear, "change_for", lambda *_: ways.get(request.param))
    yield request.param
    assert set(calls) == {request.param} & {*ways}


def noted(add_change: Callable[..., Tensor], calls: list[str], name: str) -> Callable[..., Tensor]:
    def called(*given: object) -> Tensor:
        calls.append(name)
        return add_change(*given)

    return called


# Skipped before `way` is set up, which tells at its end whether the way was taken.
KERNELS_IN_BFLOAT16 = pytest.param(
    "kernels",
    marks=pytest.mark.skipif(cards.DEVICE == "cpu", reason="Triton's interpreter multiplies the bits of bfloat16"),
)


def device_of(way: str) -> str:
    """Where there is a card, kernels compute on it."""
    return cards.DEVICE if way == "kernels" else "cpu"


TASKS = 3
WEIGHTS = torch.tensor([2.0, 0.5, 3.0])
DOCUMENTS = [documents([9, 4, 6], 0), documents([13, 5], 1), documents([3, 2, 2, 7], 2)]
EVERY = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ALL_LINEAR = {
    "llama-tied": EVERY, "llama-untied": EVERY, "qwen2": EVERY, "qwen3": EVERY, "gemma2": EVERY,
    "opt": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"), "gpt2": ("c_attn", "c_proj", "c_fc"),
}  # fmt: skip


def gradients(
    family: str, spec: AdapterSpec, dtype: torch.dtype, rows_of: list[list[Document]] = DOCUMENTS, *,
    plain: bool, way: str = "",
) -> tuple[Tensor, Tensor, Engine]:  # fmt: skip
    device = device_of(way)
    model = tiny_model(family).to(device=device, dtype=dtype)  # pyright: ignore[reportArgumentType, reportCallIssue]
    engine = Engine(loaded(model), spec, plain_adapters=plain)
    rows = random_rows(engine, TASKS).to(device, torch.promote_types(dtype, torch.float32))
    gradient = torch.zeros_like(rows)
    nats = engine.accumulate(rows, gradient, pack(rows_of), range(TASKS), WEIGHTS)
    return nats.cpu(), gradient.cpu(), engine


@pytest.mark.parametrize("targets", [TARGETS, ALL_LINEAR], ids=["some", "all linear"])
@pytest.mark.parametrize("family", FAMILIES)
def test_together_they_give_the_gradients_of_torchs_own_operations(family: str, targets: dict[str, tuple[str, ...]]):
    spec = dataclasses.replace(adapter(family), targets=targets[family])
    nats, found, _ = gradients(family, spec, torch.float64, plain=False)
    expected_nats, expected, _ = gradients(family, spec, torch.float64, plain=True)
    torch.testing.assert_close(nats, expected_nats, rtol=1e-9, atol=0)
    assert ((found - expected).norm(dim=1) / expected.norm(dim=1)).max() < 1e-6  # norms are float32 in some families
    assert expected.any(dim=1).all()


@pytest.mark.parametrize("documents_of_rows", [DOCUMENTS, DOCUMENTS[:1] * TASKS], ids=["unequal", "a rectangle"])
@pytest.mark.parametrize("targets", [TARGETS, ALL_LINEAR], ids=["some", "all linear"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_gives_the_gradients_of_torchs_own_operations_in_float32(
    family: str, targets: dict[str, tuple[str, ...]], documents_of_rows: list[list[Document]], way: str
):
    spec = dataclasses.replace(adapter(family), targets=targets[family])
    nats, found, _ = gradients(family, spec, torch.float32, documents_of_rows, plain=False, way=way)
    expected_nats, expected, _ = gradients(family, spec, torch.float64, documents_of_rows, plain=True)
    torch.testing.assert_close(nats, expected_nats, rtol=1e-4, atol=0)
    assert ((found - expected).norm(dim=1) / expected.norm(dim=1)).max() < 1e-4


@pytest.mark.parametrize("way", ["passes", KERNELS_IN_BFLOAT16, "products"], indirect=True)
@pytest.mark.parametrize("rank", [3, 34])
@pytest.mark.parametrize("family", ["llama-tied", "gpt2"])
def test_a_base_in_bfloat16_gives_float32_gradients_that_differ_by_its_rounding(family: str, rank: int, way: str):
    spec = adapter(family, rank=rank)
    nats, found, _ = gradients(family, spec, torch.bfloat16, plain=False, way=way)
    expected_nats, expected, _ = gradients(family, spec, torch.bfloat16, plain=True)
    assert found.dtype == torch.float32 and found.isfinite().all()
    torch.testing.assert_close(nats, expected_nats, rtol=1e-2, atol=0)
    assert ((found - expected).norm(dim=1) / expected.norm(dim=1)).max() < 3e-2


@pytest.mark.parametrize("targets", [("q_proj",), ("q_proj", "v_proj"), ("k_proj", "o_proj"), ("up_proj", "down_proj")])
def test_frozen_linears_join_those_that_read_their_input_and_are_given_back(targets: tuple[str, ...]):
    model = tiny_model("llama-tied")
    before = dict(model.named_modules())
    engine = Engine(loaded(model), dataclasses.replace(adapter("llama-tied"), targets=targets))
    joined = {name.rpartition(".")[2] for name, module in before.items() if model.get_submodule(name) is not module}
    alike = [{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"}, {"o_proj"}, {"down_proj"}]
    assert joined == set().union(*(group for group in alike if group & set(targets)))
    engine.close()
    assert all(model.get_submodule(name) is module for name, module in before.items())


class Apart(nn.Module):
    """Two linears of one input with another between them in the order of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.between, self.last, self.beside = (nn.Linear(8, 8, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.last(x) + self.between(x * 2) + self.beside(x)


def test_an_adapted_module_joins_no_other_run_of_its_input():
    model, adapted = nn.ModuleDict({"a": Apart()}), ["a.first", "a.between", "a.last"]
    inputs = {"a.first": 1, "a.between": 2, "a.last": 1, "a.beside": 1}
    siblings = _siblings(model, adapted)
    assert siblings == ["a.beside"]
    runs = [adapted[run] for run in _runs(adapted, inputs)]
    assert runs == [["a.first"], ["a.between"], ["a.last"]]
    joined = [_beside(model, run, siblings, inputs) for run in runs]
    assert joined == [["a.beside"], [], ["a.beside"]]  # until the first has exchanged it
    assert _beside(model, ["a.first"], siblings, {"a.beside": 1}) == []  # never called while the model was watched


@pytest.mark.parametrize("order", ["beside first", "never", "twice", "of another shape"])
def test_a_frozen_linear_beside_is_what_it_was_however_it_is_called(order: str):
    torch.manual_seed(0)
    bases = [nn.Linear(8, size, bias=False).requires_grad_(False).double() for size in (6, 4)]
    modules = [AdaptedLinear(base) for base in bases]
    slots = Layout.of([("m", "lora_A", (3, 8)), ("m", "lora_B", (6, 3))]).slots
    shared = SharedInput(modules[:1], slots[:1], slots[1:], 2.0, beside=modules[1:])
    rows, x = torch.randn(2, 3 * 8 + 6 * 3 + 6).double(), torch.randn(2, 5, 8).double()
    rows = rows[:, : 3 * 8 + 6 * 3]
    expected = bases[0](x) + 2 * x @ rows[:, :24].view(2, 3, 8).mT @ rows[:, 24:].view(2, 6, 3).mT
    with torch.no_grad(), shared.reading(RowsInHand(rows, RowLayout(2, 5))):
        if order == "beside first":
            torch.testing.assert_close(modules[1](x), bases[1](x))
        torch.testing.assert_close(modules[0](x), expected)
        if order == "twice":
            for _ in range(2):
                torch.testing.assert_close(modules[1](x), bases[1](x))
        if order == "of another shape":
            short = x[:1, :3]
            torch.testing.assert_close(modules[1](short), bases[1](short))


def test_queries_keys_and_values_share_their_input_and_the_output_projection_does_not():
    spec = dataclasses.replace(adapter("llama-tied"), targets=EVERY)
    _, _, engine = gradients("llama-tied", spec, torch.float32, plain=False)
    names = {id(engine.loaded.model.get_submodule(name)): name.rpartition(".")[2] for name in engine.lora.modules}
    groups = [tuple(names[id(member)] for member in shared.members) for shared in engine._adapters._shared]
    one_layer = [("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",)]
    assert groups == one_layer * 3


def test_their_input_is_kept_once(way: str):
    """By the storages that the backward of query and value holds on to; in torch's own operations each keeps it."""
    kept: dict[bool, int] = {}
    for plain in (False, True):
        shared, x, rows = one_group(plain=plain, way=way)
        storages: list[int] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, storages=storages: storages.append(tensor.untyped_storage().data_ptr()) or tensor,
            lambda tensor: tensor,
        )
        with hooks, shared.reading(RowsInHand(rows, LAYOUT, torch.zeros_like(rows))):
            outputs = [member(x) for member in shared.members]
        assert all(output.requires_grad for output in outputs)
        kept[plain] = storages.count(x.untyped_storage().data_ptr())
    assert kept[False] == 1 < kept[True]


LAYOUT = RowLayout(TASKS, 5)
RANK, INPUTS, OUTPUTS = 2, 8, (6, 4)
_TENSORS = [("q", "lora_A", (RANK, INPUTS)), ("v", "lora_A", (RANK, INPUTS)),
            ("q", "lora_B", (OUTPUTS[0], RANK)), ("v", "lora_B", (OUTPUTS[1], RANK))]  # fmt: skip
SLOTS = Layout.of(_TENSORS).slots  # pyright: ignore[reportArgumentType]
ROWS = torch.randn(TASKS, Layout.of(_TENSORS).weights, generator=torch.Generator().manual_seed(0))  # pyright: ignore[reportArgumentType]


def one_group(*, plain: bool = False, way: str = "") -> tuple[SharedInput, Tensor, Tensor]:
    """With an input and rows."""
    torch.manual_seed(1)
    device = device_of(way)
    members = [AdaptedLinear(nn.Linear(INPUTS, size).requires_grad_(False).to(device)) for size in OUTPUTS]
    shared = SharedInput(members, SLOTS[:2], SLOTS[2:], 0.5, plain=plain)
    return shared, torch.randn(TASKS, 5, INPUTS).to(device).requires_grad_(), ROWS.to(device)


def test_an_output_that_nobody_reads_gets_no_gradient_and_the_others_theirs(way: str):
    found = []
    for plain in (False, True):
        shared, x, rows = one_group(plain=plain, way=way)
        gradient = torch.zeros_like(rows)
        with shared.reading(RowsInHand(rows, LAYOUT, gradient)):
            first, _ = (member(x) for member in shared.members)
            first.sum().backward()
        assert x.grad is not None
        found.append((gradient, x.grad))
        assert not SLOTS[1].view(gradient).any() and SLOTS[0].view(gradient).any()
    torch.testing.assert_close(found[0], found[1])


def test_a_member_that_is_given_another_input_after_all_is_computed_from_that(way: str):
    shared, x, rows = one_group(way=way)
    other = torch.randn_like(x)
    with shared.reading(RowsInHand(rows, LAYOUT)):
        mixed = [member(given) for member, given in zip(shared.members, (x, other), strict=True)]
        expected = [[member(given) for member in shared.members] for given in (x, other)]
    torch.testing.assert_close(mixed, [expected[0][0], expected[1][1]])


def test_without_rows_in_hand_the_base_speaks_alone():
    shared, x, _ = one_group()
    for member in shared.members:
        assert torch.equal(member(x), member.base(x))


def test_an_input_that_does_not_hold_every_row_is_refused():
    shared, x, _ = one_group()
    with (
        shared.reading(RowsInHand(ROWS, LAYOUT)),
        pytest.raises(TrainerError, match=r"\(2, 5, 8\) for 3 rows") as raised,
    ):
        shared.members[0](x[:2])
    assert raised.value.code == "unmatched_module"


@pytest.mark.parametrize(("rank", "expected"), [(8, "card_change"), (64, "card_change"), (128, None)])
def test_on_a_card_kernels_are_chosen_by_ranks_and_dtypes(rank: int, expected: str | None, kernels: None) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    tensors = [
        ("q", "lora_A", (rank, 4)),
        ("v", "lora_A", (rank, 4)),
        ("q", "lora_B", (6, rank)),
        ("v", "lora_B", (6, rank)),
    ]
    slots = Layout.of(tensors).slots  # pyright: ignore[reportArgumentType]
    factors = SharedInput([AdaptedLinear(nn.Linear(4, 6)) for _ in range(2)], slots[:2], slots[2:], 1.0).factors
    x, rows = torch.zeros(2, 4, device=cards.DEVICE), torch.zeros(1, factors.end, device=cards.DEVICE)
    found = adapted_linear.change_for(x, rows, factors)
    assert (None if found is None else found.__name__.rpartition(".")[2]) == expected  # pyright: ignore[reportAttributeAccessIssue]
    assert adapted_linear.change_for(x.double(), rows.double(), factors) is None


@pytest.mark.parametrize(
    ("rank", "dtype", "expected"),
    [(32, torch.bfloat16, compiled_change), (33, torch.bfloat16, None), (34, torch.bfloat16, compiled_change)],
)
def test_on_a_processor_passes_are_chosen_by_rank_and_dtype(
    rank: int, dtype: torch.dtype, expected: ModuleType | None
) -> None:
    slots = Layout.of([("q", "lora_A", (rank, 4)), ("q", "lora_B", (6, rank))]).slots
    factors = SharedInput([AdaptedLinear(nn.Linear(4, 6))], slots[:1], slots[1:], 1.0).factors
    x, rows = torch.zeros(2, 4, dtype=dtype), torch.zeros(1, factors.end)
    assert adapted_linear.change_for(x, rows, factors) is expected
    assert adapted_linear.change_for(x.double(), rows.double(), factors) is None
