"""Hidden states below the lowest adapted layer, computed once a document and kept in a file that runs share.

Every document of the data set is computed once, before the first step, in batches that follow from the documents
alone; the file's key holds whatever else changes a bit. So a run reads the same bits whether the file was there, was
begun by a process that was killed, or is filled by it. docs/performance.md, "Frozen-prefix cache".

Shapes: N packed rows, T tokens, H hidden size, M tokens of all distinct documents.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor

from bora.trainer.v1 import event_pb2
from bora_trainer.data import SPLITS, Dataset, Document, PackedBatch, TaskData, pack
from bora_trainer.device_facts import device_description
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.frozen_prefix import PrefixUnsupported
from bora_trainer.models import ModelFacts
from bora_trainer.state_files import NoRoom, StateFile, StateFolder
from bora_trainer.versions import versions

_FORMAT = 2  # raise it when the same documents would be computed or laid out differently
_FILL_TOKENS = {"cpu": 2048, "cuda": 32768}  # of a batch, with padding
_TELL_SECONDS = 5.0  # between two events
_WAIT_SECONDS = 0.2  # between two looks whether another process has filled the file
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

_logger = logging.getLogger(__name__)


def prefix_cache_bytes(facts: ModelFacts, dataset: Dataset, dtype: torch.dtype) -> int:
    """Bytes of the file for this model, adapter and data; 0 when no layer lies below the adapters."""
    if not facts.layers_below:
        return 0
    return _tokens(distinct_documents(dataset.tasks)) * facts.hidden_size * dtype.itemsize


def distinct_documents(tasks: Sequence[TaskData]) -> list[Document]:
    """One document for each sequence of tokens, of all splits: shorter ones first, then by their tokens."""
    found = {document.tokens: document for task in tasks for split in SPLITS for document in task.documents(split)}
    return sorted(found.values(), key=lambda document: (len(document.tokens), document.tokens))


@dataclass(frozen=True, slots=True)
class PrefixCache:
    """The states of one data set under one model. Callable: what the engine reads in place of the lower layers.

    `batches` holds what is computed at once, piece by piece of the file; `starts` the first row of each document.
    """

    engine: Engine
    batches: tuple[tuple[Document, ...], ...]
    starts: dict[tuple[int, ...], int]
    file: StateFile
    states_MH: Tensor

    @property
    def tokens(self) -> int:
        return self.states_MH.shape[0]

    def __call__(self, batch: PackedBatch) -> Tensor:
        """[N, T, H] on the engine's device. `batch` lies on the CPU; its documents belong to the data set."""
        most = max(1, *(len(row) for row in batch.documents))
        starts = [[self.starts[document.tokens] for document in row] for row in batch.documents]
        first = torch.tensor([row + [0] * (most - len(row)) for row in starts])
        place_NT = first.gather(1, batch.segments.clamp_min(0)) + batch.positions  # a pad reads what is finite
        states = self.states_MH.index_select(0, place_NT.flatten()).view(*place_NT.shape, -1)
        device = self.engine.loaded.model.device
        return states if device.type == "cpu" else states.pin_memory().to(device, non_blocking=True)

    def fill(self, stop: Callable[[], bool]) -> Iterator[event_pb2.Event]:
        """Computes what the file lacks and lets the engine read it from then on; tells how far it is.

        Raises `TrainerError("drained")` when `stop()` turns true; what is computed by then stays.
        """
        began = time.monotonic()
        while not self.file.try_to_fill():
            self._refuse_stop(stop)
            time.sleep(_WAIT_SECONDS)
        try:
            yield from self._compute_missing(stop, began)
        finally:
            self.file.filled()
        self.engine.start_from(self)

    def _compute_missing(self, stop: Callable[[], bool], began: float) -> Iterator[event_pb2.Event]:
        row_bytes = self.states_MH.shape[1] * self.states_MH.itemsize
        spans = self._spans(row_bytes)
        whole = self.file.whole_pieces(spans)
        there = sum(_tokens(self.batches[number]) for number in whole)
        computed, told = self.tokens - there, time.monotonic()
        for number, documents in enumerate(self.batches):
            if number in whole:
                continue
            self._refuse_stop(stop)
            self.file.write(number, spans[number][0], self._compute(documents))
            there += _tokens(documents)
            if time.monotonic() - told >= _TELL_SECONDS and there < self.tokens:
                told = time.monotonic()
                yield self._told(there, told - began)
        seconds = time.monotonic() - began
        _logger.info("hidden states: %d tokens computed, %d read, in %.1f s", computed, self.tokens - computed, seconds)
        yield self._told(there, seconds)

    def _compute(self, documents: Sequence[Document]) -> bytes:
        batch = pack([[document] for document in documents])
        states_NTH = self.engine.states_below(batch).cpu()
        return states_NTH[batch.segments >= 0].view(torch.uint8).numpy().tobytes()

    def _spans(self, row_bytes: int) -> list[tuple[int, int]]:
        starts = [self.starts[documents[0].tokens] for documents in self.batches] + [self.tokens]
        return [(one * row_bytes, other * row_bytes) for one, other in zip(starts, starts[1:], strict=False)]

    def _refuse_stop(self, stop: Callable[[], bool]) -> None:
        if stop():
            raise TrainerError("drained", "asked to stop while hidden states were computed", domain="controller")

    def _told(self, there: int, seconds: float) -> event_pb2.Event:
        return event_pb2.Event(
            prefix_cache_filled=event_pb2.PrefixCacheFilled(tokens=there, of_tokens=self.tokens, seconds=seconds)
        )


def open_cache(engine: Engine, dataset: Dataset, folder: StateFolder) -> tuple[PrefixCache | None, str]:
    """The data set's file, to be filled, and in words what is kept; or None and why the run does without.

    Neither where no layer lies below the adapters.
    """
    if engine.prefix is None:
        return None, ""
    layer = engine.prefix.cut.lowest
    try:
        states = _probe(engine)
        documents = distinct_documents(dataset.tasks)
        key = _key(engine, documents, states.dtype)
        file = folder.claim(key, _tokens(documents) * states.shape[-1] * states.itemsize)
    except (PrefixUnsupported, NoRoom, OSError) as error:
        words = f"hidden states below layer {layer} are not kept: {error}"
        _logger.warning("%s", words)
        return None, words
    states_MH = file.read(states.dtype, states.shape[-1])
    cache = PrefixCache(engine, _batches(documents, engine), _starts(documents), file, states_MH)
    size = states_MH.numel() * states_MH.itemsize
    words = f"hidden states below layer {layer} are kept: {cache.tokens} tokens, {size} bytes"
    _logger.info("%s, in %s", words, folder.path / key)
    return cache, words


def _probe(engine: Engine) -> Tensor:
    """Hidden states of two short documents, after showing that the upper layers need nothing else of the lower ones.

    The two ways compute the same products on the same numbers, so their nats are equal to the bit. Another batch comes
    between: a family that keeps something from call to call would read that one's. Raises `PrefixUnsupported`.
    """
    vocabulary = engine.loaded.model.config.get_text_config().vocab_size
    asked, between = (
        pack([[_document(first, 4, vocabulary)], [_document(first + 4, 4, vocabulary)]]) for first in (1, 9)
    )
    engine.start_from(None)
    try:
        states = engine.states_below(asked)
        expected = engine.nats(None, asked, range(2))
        engine.nats(None, between, range(2))
        engine.start_from(lambda _: states)
        found = engine.nats(None, asked, range(2))
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise PrefixUnsupported(f"{type(engine.loaded.model).__name__} cannot start there: {error}") from error
    finally:
        engine.start_from(None)
    if found != expected:
        name = type(engine.loaded.model).__name__
        raise PrefixUnsupported(f"upper layers of {name} need more of the lower ones: {found} nats, not {expected}")
    if states.dtype not in _DTYPES:
        raise PrefixUnsupported(f"its hidden states are {states.dtype}")
    return states


def _document(first: int, length: int, vocabulary: int) -> Document:
    tokens = tuple(token % vocabulary for token in range(first, first + length))
    return Document(0, f"probe-{first}", "", tokens, 1, length)


def _key(engine: Engine, documents: Sequence[Document], dtype: torch.dtype) -> str:
    """sha256 of everything that changes a bit of the states."""
    assert engine.prefix is not None
    device = engine.loaded.model.device
    tokens = hashlib.sha256()
    for document in documents:
        tokens.update(array("q", (len(document.tokens), *document.tokens)).tobytes())
    installed = versions()
    facts = {
        "format": _FORMAT,
        "model": engine.loaded.hash,
        "dtype": [str(engine.loaded.dtype), str(dtype)],
        "cut": [engine.prefix.cut.layers, engine.prefix.cut.lowest],
        "tokens": tokens.hexdigest(),
        "batch": _fill_tokens(engine),
        "fused": [*engine.fused_parts, version("numba")] if engine.fused_parts else [],
        "attention": "documents" if engine.attends_documents else engine.loaded.attention,
        "device": [device_description(str(device)), torch.backends.cpu.get_cpu_capability()],
        "threads": torch.get_num_threads(),
        "versions": [installed["torch"], installed["transformers"]],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _batches(documents: Sequence[Document], engine: Engine) -> tuple[tuple[Document, ...], ...]:
    """Runs of documents of like length, padded to at most the budget, one document at least."""
    budget, found, run = _fill_tokens(engine), [], []
    for document in documents:  # the longest of a run is its last
        if run and (len(run) + 1) * len(document.tokens) > budget:
            found.append(tuple(run))
            run = []
        run.append(document)
    return (*found, tuple(run)) if run else tuple(found)


def _starts(documents: Sequence[Document]) -> dict[tuple[int, ...], int]:
    starts, reached = {}, 0
    for document in documents:
        starts[document.tokens] = reached
        reached += len(document.tokens)
    return starts


def _fill_tokens(engine: Engine) -> int:
    return _FILL_TOKENS.get(engine.loaded.model.device.type, _FILL_TOKENS["cpu"])


def _tokens(documents: Sequence[Document]) -> int:
    return sum(len(document.tokens) for document in documents)
