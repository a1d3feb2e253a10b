"""Gradients of every row against PEFT, torch.func and themselves. docs/method.md, section 4."""

import pytest
import torch
from tiny_models import FAMILIES, adapter, documents, loaded, peft_twin, plain_nats, random_rows, tiny_model
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from bora_trainer.data.batches import pack
from bora_trainer.engine import Engine

TASKS = 3
WEIGHTS = torch.tensor([2.0, 0.5, 3.0])
DOCUMENTS = [documents([9, 4, 6], 0), documents([13, 5], 1), documents([3, 2, 2, 7], 2, scored_from=1)]


def relative_error(found: torch.Tensor, expected: torch.Tensor | None) -> float:
    assert expected is not None
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("kind", ["lora", "rslora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_every_row_equal_those_of_a_separate_peft_model(family: str, kind: str) -> None:
    engine = Engine(loaded(tiny_model(family)), adapter(family, kind))
    rows = random_rows(engine, TASKS)
    gradient = torch.zeros_like(rows)
    nats = engine.accumulate(rows, gradient, pack(DOCUMENTS), range(TASKS), WEIGHTS)
    for task in range(TASKS):
        twin, named = peft_twin(tiny_model(family), engine, rows[task])
        expected = torch.stack([plain_nats(twin, document) for document in DOCUMENTS[task]]).sum()
        (WEIGHTS[task] * expected).backward()
        assert nats[task].item() == pytest.approx(expected.item(), rel=1e-5)
        for key, found in engine.layout.tensors(gradient[task]).items():
            assert relative_error(found, named[key].grad) < 1e-5, key
        assert not gradient[task, engine.layout.parameters :].any()


@pytest.mark.parametrize(("family", "bound"), [("gpt2", 1e-10), ("opt", 1e-10), ("llama-untied", 1e-6)])
def test_gradients_equal_torch_func_in_float64(family: str, bound: float) -> None:
    """Llama's bound is wider because its norm and rotation are computed in float32 whatever the dtype."""
    engine = Engine(loaded(tiny_model(family).double()), adapter(family))
    rows = random_rows(engine, TASKS)
    batch = pack([documents([8], task) for task in range(TASKS)])
    gradient = torch.zeros_like(rows)
    engine.accumulate(rows, gradient, batch, range(TASKS), torch.ones(TASKS))

    plain = tiny_model(family).double()
    weights: dict[str, torch.Tensor] = dict(plain.named_parameters())

    def nats(row: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        tensors = engine.layout.tensors(row)
        changed = dict(weights)
        for module in engine.lora.modules:
            change = engine.lora.scale * tensors[module, "lora_B"] @ tensors[module, "lora_A"]
            changed[f"{module}.weight"] = weights[f"{module}.weight"] + (change.T if engine.lora.transposed else change)
        mask = torch.ones(8, 8, dtype=torch.bool).tril()[None, None]
        inputs = {
            "input_ids": tokens[None],
            "position_ids": torch.arange(8)[None],
            "attention_mask": mask,
            "use_cache": False,
        }
        logits = functional_call(plain, changed, (), inputs).logits[0]
        return -logits.log_softmax(-1)[:-1].gather(-1, tokens[1:, None]).sum()

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no batching rule
        expected = vmap(grad(nats))(rows, batch.tokens)
    for task in range(TASKS):
        assert relative_error(gradient[task], expected[task]) < bound


@pytest.mark.parametrize("family", ["llama-tied", "gpt2", "gemma2"])
def test_another_tasks_nats_give_a_row_exactly_zero_gradient(family: str) -> None:
    engine = Engine(loaded(tiny_model(family)), adapter(family))
    rows = random_rows(engine, TASKS)
    gradient = torch.zeros_like(rows)
    engine.accumulate(rows, gradient, pack(DOCUMENTS), range(TASKS), torch.tensor([0.0, 1.0, 0.0]))
    assert gradient[1].any()
    assert not gradient[0].any() and not gradient[2].any()


def test_micro_batches_add_up_to_the_same_gradient() -> None:
    engine = Engine(loaded(tiny_model("llama-tied")), adapter("llama-tied"))
    rows = random_rows(engine, TASKS)
    whole, split = torch.zeros_like(rows), torch.zeros_like(rows)
    nats = engine.accumulate(rows, whole, pack(DOCUMENTS), range(TASKS), WEIGHTS)
    parts = [
        engine.accumulate(rows, split, pack(DOCUMENTS[span.start : span.stop]), span, WEIGHTS[span.start : span.stop])
        for span in (range(0, 2), range(2, 3))
    ]
    torch.testing.assert_close(torch.cat(parts), nats, rtol=1e-6, atol=0)
    torch.testing.assert_close(split, whole, rtol=1e-5, atol=1e-5)


def test_gradient_is_added_to_what_is_there_already() -> None:
    engine = Engine(loaded(tiny_model("llama-tied")), adapter("llama-tied"))
    rows = random_rows(engine, TASKS)
    once, twice = torch.zeros_like(rows), torch.zeros_like(rows)
    engine.accumulate(rows, once, pack(DOCUMENTS), range(TASKS), WEIGHTS)
    for _ in range(2):
        engine.accumulate(rows, twice, pack(DOCUMENTS), range(TASKS), WEIGHTS)
    torch.testing.assert_close(twice, 2 * once)


@pytest.mark.parametrize("index", [[2, 0, 1], [1, 1, 0]])
def test_rows_in_any_order_or_twice_get_their_gradient(index: list[int]) -> None:
    engine = Engine(loaded(tiny_model("opt")), adapter("opt"))
    rows = random_rows(engine, TASKS)
    found, expected = torch.zeros_like(rows), torch.zeros_like(rows)
    engine.accumulate(rows, found, pack(DOCUMENTS), index, WEIGHTS)
    for place, row in enumerate(index):
        one = range(row, row + 1)
        engine.accumulate(rows, expected, pack([DOCUMENTS[place]]), one, WEIGHTS[place : place + 1])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_packed_and_unpacked_documents_agree() -> None:
    for family in FAMILIES:
        engine = Engine(loaded(tiny_model(family)), adapter(family))
        rows = random_rows(engine, 1)
        packed, alone = torch.zeros_like(rows), torch.zeros_like(rows)
        total = engine.accumulate(rows, packed, pack([DOCUMENTS[0]]), range(1), torch.ones(1))
        parts = [engine.accumulate(rows, alone, pack([[d]]), range(1), torch.ones(1)) for d in DOCUMENTS[0]]
        assert total.item() == pytest.approx(sum(part.item() for part in parts), rel=1e-6)
        assert relative_error(packed, alone) < 1e-5, family


def test_no_backward_below_the_lowest_adapted_layer() -> None:
    engine = Engine(loaded(tiny_model("llama-tied")), adapter("llama-tied", layers=(1,)))
    assert {name.split(".")[2] for name in engine.lora.modules} == {"1"}
    graph: dict[int, bool] = {}
    for number, layer in enumerate(engine.loaded.model.model.layers):
        layer.register_forward_hook(lambda _m, _i, out, number=number: graph.update({number: out.requires_grad}))
    rows = random_rows(engine, TASKS)
    engine.accumulate(rows, torch.zeros_like(rows), pack(DOCUMENTS), range(TASKS), WEIGHTS)
    assert graph == {0: False, 1: True, 2: True}


def test_same_seed_gives_the_same_bits() -> None:
    gradients = []
    for _ in range(2):
        engine = Engine(loaded(tiny_model("qwen2")), adapter("qwen2"))
        rows = engine.initial(7).expand(TASKS, -1).clone()
        gradients.append(torch.zeros_like(rows))
        engine.accumulate(rows, gradients[-1], pack(DOCUMENTS), range(TASKS), WEIGHTS)
    assert torch.equal(*gradients)
    assert gradients[0].any()
