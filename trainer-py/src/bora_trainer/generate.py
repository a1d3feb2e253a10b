"""Continues a prompt by the base and by adapters, side by side: a token of each in turn.

Each text is made alone (one row, a cache and a generator of its own, the request's seed), so that it is the same
whatever else was asked for. All draw the same random numbers: where two texts part, their models differ. Legend: V
words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessorList, PreTrainedTokenizerBase
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from bora.trainer.v1 import trainer_pb2
from bora_trainer.adapters.peft_loading import Attached, attached
from bora_trainer.child import Stop
from bora_trainer.device import available_threads, choose_dtype, default_device, torch_dtype
from bora_trainer.errors import TrainerError
from bora_trainer.model_files import resolve
from bora_trainer.models import LoadedModel, load_model
from bora_trainer.spec import ModelSource

_UNFINISHED = "\ufffd"  # what a tokenizer puts for bytes that are no whole character yet


@dataclass(frozen=True, slots=True)
class TextRequest:
    """What to write. `adapters`: a folder each, None for the base. `temperature` 0 takes the most probable token."""

    model: ModelSource
    adapters: tuple[Path | None, ...]
    prompt: str
    seed: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int

    @classmethod
    def from_proto(cls, message: trainer_pb2.GenerateRequest) -> TextRequest:
        """Raises `TrainerError("spec_invalid")` with the field, the value and what was expected."""
        sources = [source.WhichOneof("source") for source in message.adapters]
        _require(bool(sources) and None not in sources, "adapters", sources, "at least one, each base or a folder")
        _require(message.max_tokens >= 1, "max_tokens", message.max_tokens, "at least 1")
        hot = isfinite(message.temperature) and message.temperature >= 0
        _require(hot, "temperature", message.temperature, "a number from 0")
        _require(0 < message.top_p <= 1, "top_p", message.top_p, "a number above 0, at most 1")
        adapters = tuple(Path(source.folder) if source.folder else None for source in message.adapters)
        return cls(
            ModelSource.from_proto(message.model), adapters, message.prompt, message.seed, message.max_tokens,
            message.temperature, message.top_p, message.top_k,
        )  # fmt: skip


class Writer:
    """Writes one request after another; the base stays loaded between them."""

    def __init__(self) -> None:
        self._source: ModelSource | None = None
        self._loaded: LoadedModel | None = None

    def write(self, request: TextRequest, stop: Stop) -> Iterator[trainer_pb2.GenerateResponse]:
        """A response a token until every text has ended, or `stop` says so.

        Raises `TrainerError` prompt_too_long, prompt_empty, diverged, and what `load_model` and `attached` raise.
        """
        loaded = self._base(request.model)
        folders = list(dict.fromkeys(folder for folder in request.adapters if folder is not None))
        try:
            prompt = _prompt(loaded, request.prompt)
            chosen = [None if folder is None else folders.index(folder) for folder in request.adapters]
            with attached(loaded, folders) as adapters:
                yield from _continue(loaded, adapters, chosen, prompt, request, stop)
        except BaseException:
            self._loaded = None  # an adapter that was refused halfway may have left something in it
            raise

    def _base(self, source: ModelSource) -> LoadedModel:
        if self._loaded is None or source != self._source or resolve(source).hash != self._loaded.hash:
            self._loaded = None  # two do not fit side by side
            device = default_device()
            torch.set_num_threads(available_threads())
            self._loaded, self._source = load_model(source, _dtype(source, device), device), source
        return self._loaded


def _dtype(source: ModelSource, device: str) -> torch.dtype:
    """float32 on a CPU, whatever was trained in: a product with one row is 40 times slower in bfloat16 there."""
    return torch.float32 if device == "cpu" else torch_dtype(choose_dtype(source.dtype, device)[0])


@dataclass(slots=True)
class _Text:
    """One text under way. `tokens` are the prompt's and its own; `shown` of them are in the text said so far."""

    index: int
    adapter: int | None
    tokens: list[int]
    shown: int
    cache: DynamicCache
    generator: torch.Generator
    fresh: list[int] = field(default_factory=list)  # not in the cache yet


@torch.no_grad()
def _continue(
    loaded: LoadedModel,
    adapters: Attached,
    chosen: Sequence[int | None],
    prompt: Sequence[int],
    request: TextRequest,
    stop: Stop,
) -> Iterator[trainer_pb2.GenerateResponse]:
    ends, room = _end_tokens(loaded), _room(loaded, len(prompt), request.max_tokens)
    pick = _picking(request)
    texts = [
        _Text(index, adapter, list(prompt), len(prompt), DynamicCache(config=loaded.model.config),
              torch.Generator().manual_seed(request.seed), list(prompt))
        for index, adapter in enumerate(chosen)
    ]  # fmt: skip
    for number in range(1, room + 1):
        for text in list(texts):
            if stop():
                return
            token = pick(_next_logits(loaded, adapters, text), text.generator)
            finish = _finish(token in ends, number == room)
            text.fresh = [token]
            if token not in ends:
                text.tokens.append(token)
            piece = _shown(loaded.tokenizer, text, last=finish != trainer_pb2.FINISH_UNSPECIFIED)
            yield trainer_pb2.GenerateResponse(adapter=text.index, text=piece, token=token, finish=finish)
            if finish != trainer_pb2.FINISH_UNSPECIFIED:
                texts.remove(text)


def _finish(ended: bool, full: bool) -> trainer_pb2.Finish:
    if ended:
        return trainer_pb2.FINISH_END
    return trainer_pb2.FINISH_LENGTH if full else trainer_pb2.FINISH_UNSPECIFIED


def _next_logits(loaded: LoadedModel, adapters: Attached, text: _Text) -> Tensor:
    """[V], float32 on the CPU, after all tokens of the text so far."""
    model = adapters.choose(text.adapter)
    tokens = torch.tensor([text.fresh], device=loaded.model.device)
    logits_V = model(input_ids=tokens, past_key_values=text.cache, use_cache=True, logits_to_keep=1).logits[0, -1]
    logits_V = logits_V.float().cpu()
    if not bool(logits_V.isfinite().all()):
        raise TrainerError("diverged", "the model's logits are not finite", "choose an adapter of another tau or step")
    return logits_V


def _picking(request: TextRequest):
    """How the next token is taken from its logits [V]. The draw is made on the CPU: it is the same for every device."""
    if request.temperature == 0:
        return lambda logits_V, generator: int(logits_V.argmax())
    warpers = LogitsProcessorList([TemperatureLogitsWarper(request.temperature)])
    if request.top_k > 0:
        warpers.append(TopKLogitsWarper(request.top_k))
    if request.top_p < 1:
        warpers.append(TopPLogitsWarper(request.top_p))

    def draw(logits_V: Tensor, generator: torch.Generator) -> int:
        scores_1V = warpers(torch.empty(1, 0, dtype=torch.long), logits_V[None])  # pyright: ignore[reportArgumentType]
        return int(torch.multinomial(scores_1V.softmax(-1)[0], 1, generator=generator))

    return draw


def _shown(tokenizer: PreTrainedTokenizerBase, text: _Text, last: bool) -> str:
    """The text that the tokens not shown yet add; none while they end within a character.

    Decoded together with some tokens before them, because many tokenizers treat the first token of a text otherwise.
    """
    start = max(0, text.shown - 8)
    before = str(tokenizer.decode(text.tokens[start : text.shown], skip_special_tokens=True))
    whole = str(tokenizer.decode(text.tokens[start:], skip_special_tokens=True))
    if whole.endswith(_UNFINISHED) and not last:
        return ""
    text.shown = len(text.tokens)
    return whole[len(before) :]


def _prompt(loaded: LoadedModel, prompt: str) -> list[int]:
    """Tokens as documents begin with in training: the tokenizer's own special tokens before, none behind."""
    tokens: list[int] = loaded.tokenizer(prompt, verbose=False)["input_ids"]  # pyright: ignore
    eos = getattr(loaded.tokenizer, "eos_token_id", None)
    if len(tokens) > 1 and tokens[-1] == eos:
        tokens = tokens[:-1]
    if tokens:
        return tokens
    raise TrainerError("prompt_empty", "the prompt has 0 tokens, and this model's texts begin with none of their own",
                       "give at least one word to begin with")  # fmt: skip


def _room(loaded: LoadedModel, prompt: int, asked: int) -> int:
    """Tokens to write, at least one. Raises `TrainerError("prompt_too_long")`."""
    context = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        return asked
    if prompt >= context:
        raise TrainerError(
            "prompt_too_long",
            f"the prompt has {prompt} tokens, the model's context holds {context}, one of them to write",
            f"shorten it to {context - 1} tokens at most",
        )
    return min(asked, context - prompt)


def _end_tokens(loaded: LoadedModel) -> frozenset[int]:
    generation = getattr(loaded.model, "generation_config", None)
    found: set[int] = set()
    for said in (getattr(generation, "eos_token_id", None), getattr(loaded.tokenizer, "eos_token_id", None)):
        found.update(said if isinstance(said, list) else [] if said is None else [said])
    return frozenset(found)


def _require(ok: bool, name: str, value: object, expected: str) -> None:
    if not ok:
        raise TrainerError("spec_invalid", f"{name} is {value!r}, expected {expected}", "see `bora generate --help`")
