"""Generation: plain transformers and PEFT write the same greedy text, and a text depends on nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import CONFIGS, FAMILIES, TARGETS, adapter, loaded, random_rows, tiny_model
from tiny_runs import Tiny
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bora.trainer.v1 import run_pb2, trainer_pb2
from bora_trainer.adapters.lora import Lora
from bora_trainer.adapters.peft_files import CONFIG, WEIGHTS, write_adapter
from bora_trainer.adapters.peft_loading import attached
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.generate import TextRequest, Writer, _continue, _room
from bora_trainer.models import LoadedModel
from bora_trainer.spec import AdapterSpec

PROMPT = [3, 17, 5, 40]
Answers = list[trainer_pb2.GenerateResponse]


def never() -> bool:
    return False


class Numbers:
    """A tokenizer whose tokens are their own numbers."""

    eos_token_id = None

    def decode(self, tokens: Sequence[int], skip_special_tokens: bool) -> str:
        return "".join(f"<{token}>" for token in tokens)


def with_numbers(model) -> LoadedModel:
    base = loaded(model)
    base.model.generation_config.eos_token_id = None
    return LoadedModel(base.model, Numbers(), base.name, base.hash, base.dtype, base.attention)  # pyright: ignore


def asked(count: int, **changes) -> TextRequest:
    options = {"seed": 7, "max_tokens": 12, "temperature": 0.0, "top_p": 1.0, "top_k": 0} | changes
    return TextRequest(None, (None,) * count, "", **options)  # pyright: ignore[reportArgumentType]


def written(base: LoadedModel, folders: Sequence[Path], chosen: Sequence[int | None], **changes) -> list[list[int]]:
    """The tokens of each text."""
    with attached(base, folders) as adapters:
        answers = list(_continue(base, adapters, chosen, PROMPT, asked(len(chosen), **changes), never))
    return [[answer.token for answer in answers if answer.adapter == index] for index in range(len(chosen))]


def write_random(folder: Path, family: str, seed: int, kind: str = "lora", rank: int = 3) -> Path:
    engine = Engine(loaded(tiny_model(family)), adapter(family, kind, rank))
    (row_P,) = random_rows(engine, 1, seed)
    write_adapter(folder, row_P * 5, engine.lora, "tiny")
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_are_those_of_transformers_and_peft(tmp_path: Path, family: str) -> None:
    folders = [
        write_random(tmp_path / "a", family, 1), write_random(tmp_path / "b", family, 2, "rslora", 5),
    ]  # fmt: skip
    texts = written(with_numbers(tiny_model(family)), folders, [0, None, 1])
    expected = []
    for folder in (folders[0], None, folders[1]):
        model = tiny_model(family)
        plain = model if folder is None else PeftModel.from_pretrained(model, folder)
        whole = plain.generate(  # pyright: ignore
            input_ids=torch.tensor([PROMPT]), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        expected.append(whole[0, len(PROMPT) :].tolist())
    assert texts == expected
    assert len({tuple(text) for text in texts}) > 1, "the adapters must matter"


def test_a_text_is_the_same_whatever_else_is_asked_and_the_base_is_itself_again_after(tmp_path: Path) -> None:
    folders = [write_random(tmp_path / name, "llama-tied", seed) for seed, name in enumerate("abc", start=1)]
    base = with_numbers(tiny_model("llama-tied"))
    drawn = {"temperature": 1.3, "top_p": 0.95, "top_k": 40}
    together = written(base, folders, [2, None, 0, 1, 0], **drawn)
    assert together[2] == together[4], "the same adapter and seed"
    for folder, text in zip([folders[2], None, folders[0], folders[1]], together[:4], strict=True):
        alone = written(base, [folder] if folder else [], [0 if folder else None], **drawn)
        assert alone == [text]
    assert written(base, folders, [2, None, 0, 1, 0], **drawn) == together
    assert written(base, folders, [2, None, 0, 1, 0], **drawn | {"seed": 8}) != together
    assert written(base, [], [None], **drawn) == written(with_numbers(tiny_model("llama-tied")), [], [None], **drawn)


def test_draws_have_the_probabilities_of_softmax_within_the_nucleus() -> None:
    from bora_trainer.generate import _picking

    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0])
    pick = _picking(asked(1, temperature=2.0, top_p=0.8))
    probabilities = (logits / 2).softmax(-1)
    nucleus = probabilities * torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])  # 0.46 + 0.28 < 0.8 <= 0.46 + 0.28 + 0.17
    generator = torch.Generator().manual_seed(0)
    counts = torch.bincount(torch.tensor([pick(logits, generator) for _ in range(20_000)]), minlength=5)
    assert (counts / 20_000 - nucleus / nucleus.sum()).abs().max() < 0.015  # 4 standard errors
    assert _picking(asked(1, top_k=0))(logits, generator) == 0
    only = _picking(asked(1, temperature=5.0, top_k=1))
    assert {only(logits, generator) for _ in range(50)} == {0}


def test_it_ends_with_the_context_and_refuses_a_prompt_that_fills_it() -> None:
    base = with_numbers(tiny_model("llama-tied"))
    with attached(base, []) as adapters:
        prompt = [4] * 60
        answers = list(_continue(base, adapters, [None], prompt, asked(1, max_tokens=100), never))
    assert [answer.finish for answer in answers] == [0, 0, 0, trainer_pb2.FINISH_LENGTH]  # 60 + 4 = 64 positions
    with pytest.raises(TrainerError, match="has 64 tokens, the model's context holds 64") as raised:
        _room(base, 64, 5)
    assert raised.value.code == "prompt_too_long" and "63" in raised.value.hint


def test_it_ends_where_the_model_says_so_and_when_it_is_asked_to_stop() -> None:
    base = with_numbers(tiny_model("llama-tied"))
    [greedy] = written(base, [], [None])
    base.model.generation_config.eos_token_id = [greedy[3]]  # pyright: ignore
    first = greedy.index(greedy[3])
    with attached(base, []) as adapters:
        answers = list(_continue(base, adapters, [None], PROMPT, asked(1), never))
        assert [answer.token for answer in answers] == greedy[: first + 1]
        assert answers[-1].finish == trainer_pb2.FINISH_END and answers[-1].text == ""
        calls = iter([False, False, True])
        assert len(list(_continue(base, adapters, [None], PROMPT, asked(1), lambda: next(calls)))) == 2


def request(tiny: Tiny, *folders: Path | None, **changes) -> TextRequest:
    message = trainer_pb2.GenerateRequest(
        model=run_pb2.ModelSource(path=str(tiny.folder / "model"), dtype=run_pb2.DTYPE_FLOAT32),
        adapters=[
            trainer_pb2.AdapterSource(base=True) if folder is None else trainer_pb2.AdapterSource(folder=str(folder))
            for folder in folders
        ],
        **{"prompt": "word1 word2", "seed": 1, "max_tokens": 8, "temperature": 1.0, "top_p": 1.0, **changes},
    )
    return TextRequest.from_proto(message)


def test_pieces_make_up_the_text_that_the_tokenizer_decodes(tiny: Tiny) -> None:
    answers: Answers = list(Writer().write(request(tiny, None, max_tokens=20), never))
    tokenizer = AutoTokenizer.from_pretrained(tiny.folder / "model")
    prompt = tokenizer("word1 word2")["input_ids"]
    tokens = [answer.token for answer in answers if answer.finish != trainer_pb2.FINISH_END]
    whole = tokenizer.decode(prompt + tokens, skip_special_tokens=True)
    assert "word1 word2" + "".join(answer.text for answer in answers) == whole


def test_a_character_of_several_tokens_is_shown_when_it_is_whole(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from bora_trainer.generate import _shown, _Text

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    bytes_only.decoder = decoders.ByteLevel()  # pyright: ignore
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only)
    tokens: list[int] = tokenizer("åska 😀")["input_ids"]  # pyright: ignore
    text = _Text(0, None, tokenizer("En ")["input_ids"], 3, None, None)  # pyright: ignore
    pieces = []
    for token in tokens:
        text.tokens.append(token)
        pieces.append(_shown(tokenizer, text, last=False))
    assert pieces == ["", "å", "s", "k", "a", " ", "", "", "", "😀"]
    text.tokens.append(tokens[0])
    assert _shown(tokenizer, text, last=True) == "\ufffd"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"), ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"), ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(tiny: Tiny, changes: dict, message: str) -> None:
    with pytest.raises(TrainerError, match=message) as raised:
        request(tiny, None, **changes)
    assert raised.value.code == "spec_invalid"
    with pytest.raises(TrainerError, match="adapters is"):
        request(tiny)


def test_a_prompt_is_refused_when_it_is_empty_or_too_long_and_the_writer_goes_on(tiny: Tiny) -> None:
    writer = Writer()
    for prompt, code in (("", "prompt_empty"), ("word1 " * 40, "prompt_too_long")):
        with pytest.raises(TrainerError) as raised:
            list(writer.write(request(tiny, None, prompt=prompt), never))
        assert raised.value.code == code
    assert list(writer.write(request(tiny, None), never))


@pytest.fixture
def adapter_folder(tiny: Tiny, tmp_path: Path) -> Path:
    base = tiny.loaded()
    lora = Lora.of(base.model, AdapterSpec("lora", 4, 4.0, ("q_proj", "v_proj"), ()))
    row_P = lora.initial(3)
    row_P[: lora.layout.parameters] = torch.randn(lora.layout.parameters, generator=torch.Generator().manual_seed(3))
    write_adapter(tmp_path / "adapter", row_P, lora, base.name)
    return tmp_path / "adapter"


def changed(folder: Path, **fields) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | fields))


def refused(tiny: Tiny, folder: Path) -> TrainerError:
    with pytest.raises(TrainerError) as raised:
        list(Writer().write(request(tiny, folder), never))
    return raised.value


def test_an_adapter_of_another_base_is_refused_by_name_and_by_shape(tiny: Tiny, adapter_folder: Path) -> None:
    writer = Writer()
    before = list(writer.write(request(tiny, adapter_folder), never))
    changed(adapter_folder, base_model_name_or_path="someone/else")
    by_name = refused(tiny, adapter_folder)
    assert by_name.code == "adapter_mismatch" and "'someone/else'" in by_name.message
    for same in ("", None, "/moved/to/model"):
        changed(adapter_folder, base_model_name_or_path=same)
        assert list(writer.write(request(tiny, adapter_folder), never)) == before
    wider = LlamaForCausalLM(LlamaConfig(
        vocab_size=43, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
    ))  # fmt: skip
    other = get_peft_model(wider, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    other.save_pretrained(str(adapter_folder))
    by_shape = refused(tiny, adapter_folder)
    assert by_shape.code == "adapter_mismatch" and "size mismatch" in by_shape.message
    with pytest.raises(TrainerError):
        list(writer.write(request(tiny, adapter_folder), never))
    assert list(writer.write(request(tiny, None), never)) == list(Writer().write(request(tiny, None), never))


def test_an_adapter_with_other_modules_or_another_method_is_refused(tiny: Tiny, adapter_folder: Path) -> None:
    for fields, word in (
        ({"target_modules": ["nothing_here"]}, "nothing_here"),
        ({"target_modules": ["q_proj"]}, "belong nowhere"),
        ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, "missing"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"init_lora_weights": "pissa"}, "pissa"),
    ):
        whole = (adapter_folder / CONFIG).read_text()
        changed(adapter_folder, **fields)
        error = refused(tiny, adapter_folder)
        assert error.code == "adapter_mismatch" and word in error.message, error
        (adapter_folder / CONFIG).write_text(whole)


@pytest.mark.parametrize(("file", "content"), [(WEIGHTS, b"{broken}"), (WEIGHTS, None), (CONFIG, b"{"), (CONFIG, None)])
def test_an_adapter_that_cannot_be_read_is_refused(
    tiny: Tiny, adapter_folder: Path, file: str, content: bytes | None
) -> None:
    (adapter_folder / file).unlink()
    if content is not None:
        (adapter_folder / file).write_bytes(content)
    assert refused(tiny, adapter_folder).code == "adapter_unreadable"


def test_an_adapter_that_is_not_finite_is_told_and_not_drawn_from(tiny: Tiny, adapter_folder: Path) -> None:
    tensors = load_file(adapter_folder / WEIGHTS)
    name = next(name for name in tensors if "q_proj.lora_B" in name)
    save_file({**tensors, name: torch.full_like(tensors[name], float("nan"))}, adapter_folder / WEIGHTS)
    assert refused(tiny, adapter_folder).code == "diverged"


def test_the_families_are_all_here() -> None:
    assert set(FAMILIES) == set(CONFIGS) == set(TARGETS)
