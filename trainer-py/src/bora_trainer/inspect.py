"""What a plan needs before anything is spent: tasks, tokens, hashes, sizes, and about how fast this device is."""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from bora.trainer.v1 import trainer_pb2
from bora_trainer.adapters.imported import content_hash, import_row, source_files, spec_of
from bora_trainer.adapters.lora import Lora
from bora_trainer.data import SPLITS, Dataset, Document, PackedBatch, TaskData, load_dataset, pack
from bora_trainer.device import apply_threads, choose_execution, device_memory, micro_batch_tokens, torch_dtype
from bora_trainer.engine import Engine
from bora_trainer.footprint import Footprint, measure
from bora_trainer.model_files import cache_folder
from bora_trainer.models import ModelFacts, load_model, load_tokenizer, model_facts
from bora_trainer.prefix_cache import prefix_cache_bytes
from bora_trainer.spec import AdapterSpec, DataSpec, Execution, ModelSource
from bora_trainer.state_files import StateFolder

_PROBE_ROWS = 64  # at most, of the larger micro-batch
_FIRST_TOKENS = 64
_SECONDS = 1.0  # for each of the two timings

Rates = tuple[float, float]


def inspect(request: trainer_pb2.InspectRequest) -> trainer_pb2.InspectResponse:
    """Read data and model as a run would, train nothing. Raises what load_dataset, load_model and Engine raise."""
    source, adapter = ModelSource.from_proto(request.model), AdapterSpec.from_proto(request.adapter)
    data = DataSpec.from_proto(request.data)
    facts = model_facts(source, adapter)
    folders = [Path(path) for path in request.adapter_folders]
    hashes = [content_hash(folder) for folder in folders]
    dataset = load_dataset(data, load_tokenizer(source))
    execution = choose_execution(
        source.dtype,
        None,
        rows=_PROBE_ROWS,
        tokens_per_row=data.max_tokens,
        activation_bytes_per_token=facts.activation_bytes_per_token,
    )
    apply_threads(execution)
    free, total = device_memory(execution.device)
    most_tokens = micro_batch_tokens(execution.device, execution.dtype, facts.activation_bytes_per_token)
    loaded = load_model(source, torch_dtype(execution.dtype), execution.device)
    for folder in folders:
        shape = adapter if request.same_shape else spec_of(folder)
        import_row(folder, Lora.of(loaded.model, shape), facts.name, facts.hash)
    engine = Engine(loaded, adapter)
    train_rate, evaluate_rate = probe(engine, dataset.tasks, execution.rows_per_micro_batch)
    footprint = measure(engine, len(_mixed(dataset.tasks)[0].tokens))
    return trainer_pb2.InspectResponse(
        tasks=[_task(task) for task in dataset.tasks],
        data_hash=dataset.hash,
        warnings=dataset.warnings,
        files=_files(dataset, facts, folders),
        adapter_folders=[
            trainer_pb2.AdapterFolder(path=path, sha256=sha256)
            for path, sha256 in zip(request.adapter_folders, hashes, strict=True)
        ],
        train_tokens_per_second=train_rate,
        evaluate_tokens_per_second=evaluate_rate,
        model_hash=facts.hash,
        model_name=facts.name,
        base_parameters=facts.parameters,
        parameters_per_row=facts.parameters_per_row,
        adapted_modules=facts.adapted_modules,
        micro_batch_tokens=most_tokens,
        prefix_cache_bytes=_kept_states(facts, dataset, execution),
        device=execution.device,
        free_memory_bytes=free,
        memory_bytes=total,
        **_bytes(footprint),
    )


def _bytes(footprint: Footprint) -> dict[str, int]:
    return {
        "base_bytes": footprint.base,
        "bytes_per_row": footprint.per_row,
        "bytes_per_fit": footprint.per_fit,
        "activation_bytes_per_token": footprint.activation_per_token,
        "kept_bytes_per_token": footprint.kept_per_token,
        "working_bytes": footprint.working,
        "process_bytes": footprint.process,
    }


def _kept_states(facts: ModelFacts, dataset: Dataset, execution: Execution) -> int:
    """Bytes on disk; 0 where the person allows less."""
    size = prefix_cache_bytes(facts, dataset, torch_dtype(execution.dtype))
    limit = StateFolder.from_environment(cache_folder()).limit
    return 0 if limit is not None and size > limit else size


def probe(engine: Engine, tasks: Sequence[TaskData], rows: int) -> Rates:
    """Scored tokens a second of (forward and backward, forward alone) on micro-batches of at most `rows` documents.

    A small batch warms up and tells how large a one fits in a second; the longest document is in it, so that a document
    the model has no positions for is found here (document_too_long).
    """
    documents = _mixed(tasks)
    few = min(rows, 1 + _FIRST_TOKENS // len(documents[0].tokens))
    small = pack([[document] for document in itertools.islice(itertools.cycle(documents), few)])
    weights = torch.stack([engine.initial(0)] * rows).to(engine.loaded.model.device)
    gradient = torch.zeros_like(weights)

    def train(batch: PackedBatch) -> None:
        count = len(batch.documents)
        ones = torch.ones(count, device=weights.device)
        engine.accumulate(weights, gradient, batch, range(count), ones).sum().item()  # .item() waits for the device

    def evaluate(batch: PackedBatch) -> None:
        engine.nats(weights, batch, range(len(batch.documents)))

    train(small)  # the first use of a device takes longer
    return _rate(train, small, documents, rows), _rate(evaluate, small, documents, rows)


def _mixed(tasks: Sequence[TaskData]) -> list[Document]:
    """The longest training document (of test, where nothing is trained), then the others, one a task in turn."""
    turns = itertools.zip_longest(*(task.train or task.test for task in tasks))
    documents = [document for turn in turns for document in turn if document is not None]
    return [max(documents, key=lambda document: len(document.tokens)), *documents]


def _rate(work: Callable[[PackedBatch], None], small: PackedBatch, documents: Sequence[Document], rows: int) -> float:
    """Scored tokens a second: of the small batch, or of a larger one if that fits in the time."""
    seconds = _timed(work, small)
    fits = int(_SECONDS / seconds * len(small.documents))
    count = min(rows, fits)
    if count <= len(small.documents):
        return small.scored_tokens / seconds
    large = pack([[document] for document in itertools.islice(itertools.cycle(documents), count)])
    return large.scored_tokens / _timed(work, large)


def _timed(work: Callable[[PackedBatch], None], batch: PackedBatch) -> float:
    start = time.perf_counter()
    work(batch)
    return max(time.perf_counter() - start, 1e-9)


def _task(task: TaskData) -> trainer_pb2.Task:
    return trainer_pb2.Task(
        name=task.name,
        slug=task.slug,
        documents=trainer_pb2.SplitCounts(**{split: len(task.documents(split)) for split in SPLITS}),
        scored_tokens=trainer_pb2.SplitCounts(**{split: task.scored(split) for split in SPLITS}),
        cut_documents=task.cut_documents,
        cut_tokens=task.cut_tokens,
    )


def _files(dataset: Dataset, facts: ModelFacts, folders: Sequence[Path]) -> list[trainer_pb2.SourceFile]:
    adapters = [file for folder in folders for file in source_files(folder)]
    return [
        trainer_pb2.SourceFile(path=file.path, size=file.size, modified_ms=file.modified_ms)
        for file in (*dataset.files, *facts.files, *adapters)
    ]
