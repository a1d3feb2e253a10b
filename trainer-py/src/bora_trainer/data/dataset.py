"""From a DataSpec to the run's data set: read, select, split, cut, tokenise, hash."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from bora_trainer.data.documents import SPLITS, Dataset, SourceFile, Split, TaskData, data_hash
from bora_trainer.data.records import Record, by_task
from bora_trainer.data.selection import select_tasks
from bora_trainer.data.shakespeare import play_files, read_plays
from bora_trainer.data.slugs import task_slugs
from bora_trainer.data.splits import SplitRecords, cut_training, sized, split_task
from bora_trainer.data.tables import read_table
from bora_trainer.data.tokens import Tokenised, Tokeniser, share
from bora_trainer.errors import TrainerError
from bora_trainer.spec import DataSpec, ShakespeareSource, TableSource

_FEW = 10  # documents of a split under which a task is worth a warning


def load_dataset(spec: DataSpec, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Read and tokenise the chosen tasks' documents. Raises TrainerErrors whose codes begin with data_."""
    records, paths = _read(spec.source)
    names = select_tasks(records, spec.tasks)
    cuts = spec.tasks.train_documents
    if cuts and len(cuts) != len(names):
        raise TrainerError(
            "spec_invalid",
            f"data.tasks.trainDocuments has {len(cuts)} numbers for {len(names)} tasks",
            "give one number a task, largest task first",
        )
    splits = [split_task(name, records[name], spec.split) for name in names]
    if cuts:
        each = zip(names, splits, cuts, strict=True)
        splits = [cut_training(name, split, cut, spec.split.seed) for name, split, cut in each]
    if spec.tasks.sizes:
        names, splits = _sized(names, splits, spec)
    tasks = _tokenise(names, splits, Tokeniser(tokenizer, spec.max_tokens))
    return Dataset(tasks, data_hash(tasks), source_files(paths), _warnings(tasks, spec))


def _sized(
    names: Sequence[str], splits: Sequence[SplitRecords], spec: DataSpec
) -> tuple[list[str], list[SplitRecords]]:
    sizes, seed = spec.tasks.sizes, spec.split.seed
    pairs = [pair for name, split in zip(names, splits, strict=True) for pair in sized(name, split, sizes, seed)]
    if not pairs:
        raise TrainerError(
            "data_too_few_documents",
            f"data.tasks.sizes asks for {min(sizes)} training documents, the largest of {len(names)} tasks has "
            f"{max(len(split.train) for split in splits)}",
            "ask for fewer, or for all",
        )
    return [name for name, _ in pairs], [split for _, split in pairs]


def source_files(paths: Sequence[Path]) -> tuple[SourceFile, ...]:
    """Absolute path, size and modification time of each file."""
    return tuple(
        SourceFile(str(path.resolve()), status.st_size, status.st_mtime_ns // 1_000_000)
        for path in paths
        for status in [path.stat()]
    )


def _read(source: ShakespeareSource | TableSource) -> tuple[dict[str, list[Record]], list[Path]]:
    if isinstance(source, TableSource):
        return by_task(read_table(source)), [Path(source.path)]
    paths = play_files()
    return by_task(read_plays(paths, source.min_characters)), paths


def _tokenise(names: Sequence[str], splits: Sequence[SplitRecords], tokenise: Tokeniser) -> tuple[TaskData, ...]:
    every = [(task, record) for task, split in enumerate(splits) for part in SPLITS for record in getattr(split, part)]
    done = iter(tokenise([record for _, record in every], [task for task, _ in every]))
    tasks: list[TaskData] = []
    for name, slug, split in zip(names, task_slugs(names), splits, strict=True):
        parts: list[list[Tokenised]] = [[next(done) for _ in getattr(split, part)] for part in SPLITS]
        cut = [tokenised.cut for part in parts for tokenised in part if tokenised.cut]
        train, validation, test = (tuple(tokenised.document for tokenised in part) for part in parts)
        tasks.append(TaskData(name, slug, train, validation, test, len(cut), sum(cut)))
    return tuple(tasks)


def _warnings(tasks: Sequence[TaskData], spec: DataSpec) -> tuple[str, ...]:
    warnings: list[str] = []
    documents = sum(len(task.documents(split)) for task in tasks for split in SPLITS)
    kept = sum(len(document.tokens) for task in tasks for split in SPLITS for document in task.documents(split))
    cut, lost = sum(task.cut_documents for task in tasks), sum(task.cut_tokens for task in tasks)
    if cut:
        warnings.append(
            f"{cut} of {documents} documents ({share(cut, documents)}) are longer than {spec.max_tokens} tokens and "
            f"were cut: {lost} of {kept + lost} tokens ({share(lost, kept + lost)}) are not used"
        )
    few = [f"{task.name} ({len(task.train)})" for task in tasks if len(task.train) < _FEW]
    if few and spec.split.by != "none" and not spec.tasks.sizes:  # asked for, where sizes are
        warnings.append(f"fewer than {_FEW} training documents: {', '.join(few)}")
    held_out: tuple[Split, ...] = ("test",) if spec.split.by == "none" else ("validation", "test")
    unsure = [task.name for task in tasks if min(len(task.documents(split)) for split in held_out) < _FEW]
    if unsure:
        warnings.append(f"fewer than {_FEW} validation or test documents: {', '.join(unsure)}")
    return tuple(warnings)
