"""Nats of documents against plain transformers, and what must change nothing."""

import dataclasses

import pytest
import torch
from tiny_models import FAMILIES, adapter, documents, loaded, peft_twin, plain_nats, random_rows, tiny_model

from bora_trainer.data.batches import PackedBatch, pack
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.evaluate import evaluate
from bora_trainer.micro_batch_size import MicroBatchSize

TASKS = 3
DOCUMENTS = [documents([9, 4, 6], 0), documents([13, 5], 1), documents([3, 2, 2, 7], 2)]


@pytest.mark.parametrize("family", FAMILIES)
def test_nats_per_document_equal_plain_transformers_with_and_without_adapters(family: str) -> None:
    engine = Engine(loaded(tiny_model(family)), adapter(family))
    rows = random_rows(engine, TASKS)
    base = tiny_model(family)
    for document, nats in evaluate(engine, None, DOCUMENTS):
        assert nats == pytest.approx(plain_nats(base, document).item(), rel=1e-5)
    found = evaluate(engine, rows, DOCUMENTS)
    assert [document for document, _ in found] == [document for task in DOCUMENTS for document in task]
    twins = [peft_twin(tiny_model(family), engine, row)[0] for row in rows]
    for document, nats in found:
        assert nats == pytest.approx(plain_nats(twins[document.task], document).item(), rel=1e-5)


def test_micro_batches_of_an_evaluation_change_no_nats() -> None:
    engine = Engine(loaded(tiny_model("qwen2")), adapter("qwen2"))
    rows = random_rows(engine, TASKS)
    many = [documents(range(2, 40), task) for task in range(TASKS)]
    whole = evaluate(engine, rows, many, size=MicroBatchSize(1, 10**6))
    split = evaluate(engine, rows, many, size=MicroBatchSize(1, 1))
    assert [d.id for d, _ in whole] == [d.id for task in many for d in task] == [d.id for d, _ in split]
    torch.testing.assert_close(torch.tensor([n for _, n in whole]), torch.tensor([n for _, n in split]))


def test_one_prior_mean_serves_every_task() -> None:
    engine = Engine(loaded(tiny_model("opt")), adapter("opt"))
    theta = random_rows(engine, 1)[0]
    expanded = evaluate(engine, theta.expand(TASKS, -1), DOCUMENTS)
    copied = evaluate(engine, theta.repeat(TASKS, 1), DOCUMENTS)
    assert expanded == copied


def test_evaluation_stops_between_micro_batches() -> None:
    engine = Engine(loaded(tiny_model("opt")), adapter("opt"))
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(len(asked) >= 2)
        return asked[-1]

    with pytest.raises(TrainerError) as raised:
        evaluate(engine, None, DOCUMENTS, size=MicroBatchSize(1, 1), stop=stop)
    assert raised.value.code == "drained" and len(asked) == 3


def _padded(batch: PackedBatch, extra: int, token: int) -> PackedBatch:
    """The same batch with `extra` more pads a row, every pad being `token`."""
    pad = lambda tensor, value: torch.nn.functional.pad(tensor, (0, extra), value=value)  # noqa: E731
    segments = pad(batch.segments, -1)
    tokens = pad(batch.tokens, 0).masked_fill(segments < 0, token)
    return PackedBatch(tokens, pad(batch.positions, 0), segments, pad(batch.scored, False), batch.documents)


@pytest.mark.parametrize("family", ["llama-tied", "gpt2", "gemma2"])
def test_pads_change_neither_nats_nor_gradients(family: str) -> None:
    engine = Engine(loaded(tiny_model(family)), adapter(family))
    rows = random_rows(engine, TASKS)
    batch = pack(DOCUMENTS)
    plain, padded = torch.zeros_like(rows), torch.zeros_like(rows)
    nats = engine.accumulate(rows, plain, batch, range(TASKS), torch.ones(TASKS))
    for token in (0, 17):
        padded.zero_()
        again = engine.accumulate(rows, padded, _padded(batch, 7, token), range(TASKS), torch.ones(TASKS))
        torch.testing.assert_close(again, nats, rtol=1e-6, atol=0)
        torch.testing.assert_close(padded, plain, rtol=1e-4, atol=1e-5)


def test_tokens_that_are_not_scored_are_context_only() -> None:
    engine = Engine(loaded(tiny_model("llama-tied")), adapter("llama-tied"))
    (document,) = documents([12])
    masked = dataclasses.replace(document, scored_from=8)
    logits = tiny_model("llama-tied")(input_ids=torch.tensor([document.tokens])).logits[0].log_softmax(-1)
    expected = -sum(logits[t - 1, document.tokens[t]].item() for t in range(8, 12))
    ((_, nats),) = evaluate(engine, None, [[masked]])
    assert nats == pytest.approx(expected, rel=1e-5)


def test_a_row_without_documents_gives_nothing() -> None:
    engine = Engine(loaded(tiny_model("llama-tied")), adapter("llama-tied"))
    rows = random_rows(engine, 2)
    gradient = torch.zeros_like(rows)
    nats = engine.accumulate(rows, gradient, pack([[], DOCUMENTS[0]]), range(2), torch.ones(2))
    assert nats[0] == 0 and nats[1] > 0
    assert not gradient[0].any() and gradient[1].isfinite().all() and gradient[1].any()
    assert engine.accumulate(rows, gradient, pack([[], []]), range(2), torch.ones(2)).tolist() == [0, 0]


def test_a_start_changes_nothing_and_is_one_draw() -> None:
    """B is 0, so the start has the base model's nats; A is uniform in +-1/sqrt(I) as PEFT draws it."""
    engine = Engine(loaded(tiny_model("gpt2")), adapter("gpt2"))
    start = engine.initial(3)
    assert torch.equal(start, engine.initial(3)) and not torch.equal(start, engine.initial(4))
    begun, base = evaluate(engine, start.expand(TASKS, -1), DOCUMENTS), evaluate(engine, None, DOCUMENTS)
    assert [nats for _, nats in begun] == pytest.approx([nats for _, nats in base], rel=1e-6)
    for (_, name), tensor in engine.layout.tensors(start).items():
        bound = tensor.shape[1] ** -0.5
        assert not tensor.any() if name == "lora_B" else 0.9 * bound < tensor.abs().max() <= bound


def test_closing_gives_the_model_back() -> None:
    model = tiny_model("llama-tied")
    names = [name for name, _ in model.named_modules()]
    engine = Engine(loaded(model), adapter("llama-tied"))
    assert [name for name, _ in model.named_modules()] != names
    engine.close()
    assert [name for name, _ in model.named_modules()] == names


@pytest.mark.parametrize(
    ("targets", "layers", "message"),
    [
        (("q_proj", "query"), (), "'query' matches no module"),
        (("q_proj",), (1, 9), r"layers \[9\] have no target module"),
        (("embed_tokens",), (), "not a linear module"),
        (("lm_head",), (), "output embedding"),
    ],
)
def test_targets_that_cannot_be_adapted_are_refused(
    targets: tuple[str, ...], layers: tuple[int, ...], message: str
) -> None:
    spec = dataclasses.replace(adapter("llama-untied"), targets=targets, layers=layers)
    with pytest.raises(TrainerError, match=message) as raised:
        Engine(loaded(tiny_model("llama-untied")), spec)
    assert raised.value.code == "unmatched_module" and raised.value.domain == "user"
    if "query" in targets:
        assert "q_proj" in raised.value.hint and "down_proj" in raised.value.hint


def test_a_document_beyond_the_context_is_refused() -> None:
    engine = Engine(loaded(tiny_model("gpt2")), adapter("gpt2"))
    with pytest.raises(TrainerError, match="65 tokens, the model attends to 64") as raised:
        evaluate(engine, None, [documents([65])])
    assert raised.value.code == "document_too_long"


def test_a_family_with_logits_of_its_own_is_refused() -> None:
    from transformers.models.cohere import CohereConfig, CohereForCausalLM

    config = CohereConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4
    )
    model = CohereForCausalLM(config).requires_grad_(False).eval()
    with pytest.raises(TrainerError, match="off those of its output embedding") as raised:
        Engine(loaded(model), adapter("llama-tied"))
    assert raised.value.code == "model_unsupported"
