"""Splits by document within task; selection of tasks; folder names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bora_trainer.data.records import Record
from bora_trainer.data.selection import select_tasks
from bora_trainer.data.slugs import task_slugs
from bora_trainer.data.splits import cut_training, split_counts, split_task
from bora_trainer.errors import TrainerError
from bora_trainer.spec import SplitSpec, TaskSelection

BY_SEED = SplitSpec("seed", 0, 0.6, 0.2, 0.2)
BY_DATE = SplitSpec("date", 0, 0.6, 0.2, 0.2)


def records(count: int, task: str = "a") -> list[Record]:
    return [Record(task, str(i), f"20{i % 90 + 10}-01-01", "text") for i in range(count)]


@given(count=st.integers(3, 400), seed=st.integers(0, 2**32 - 1))
def test_every_document_is_in_exactly_one_split(count: int, seed: int):
    split = split_task("a", records(count), SplitSpec("seed", seed, 0.6, 0.2, 0.2))
    parts = [split.train, split.validation, split.test]
    assert sorted(int(r.id) for part in parts for r in part) == list(range(count))
    assert tuple(map(len, parts)) == split_counts(count, BY_SEED)
    assert all(abs(len(part) - count * share) <= 1 for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True))


def test_a_tasks_split_depends_on_neither_row_order_nor_its_new_documents_places():
    ids = {part: {r.id for r in getattr(split_task("a", records(50), BY_SEED), part)} for part in ("train", "test")}
    turned = split_task("a", records(50)[::-1], BY_SEED)
    assert {r.id for r in turned.train} == ids["train"] and {r.id for r in turned.test} == ids["test"]
    assert {r.id for r in split_task("b", records(50), BY_SEED).test} != ids["test"]
    assert {r.id for r in split_task("a", records(50), SplitSpec("seed", 1, 0.6, 0.2, 0.2)).test} != ids["test"]


def test_splits_of_a_seed_are_the_same_everywhere():
    split = split_task("a", records(10), BY_SEED)
    assert [[r.id for r in part] for part in (split.train, split.validation, split.test)] == [
        ["0", "4", "5", "6", "7", "9"], ["2", "3"], ["1", "8"]]  # fmt: skip


def test_by_date_the_oldest_train_and_the_newest_test_with_ties_by_id():
    dates = ["2003-01-01", "2001-01-01T12:00:00+02:00", "2001-01-01T11:00:00", "2002-06-01", "2003-01-01"]
    mixed = [Record("a", name, date, "t") for name, date in zip("edcba", dates, strict=True)]
    split = split_task("a", mixed, BY_DATE)
    assert [[r.id for r in part] for part in (split.train, split.validation, split.test)] == [
        ["d", "c", "b"], ["a"], ["e"]]  # fmt: skip


@pytest.mark.parametrize(("date", "words"), [("1960-20-81", "'1960-20-81'"), ("", "no date"), ("May", "'May'")])
def test_a_date_that_cannot_be_read_names_its_document(date: str, words: str):
    bad = [*records(5), Record("a", "tale003027", date, "t")]
    with pytest.raises(TrainerError) as raised:
        split_task("a", bad, BY_DATE)
    assert raised.value.code == "data_malformed"
    assert "'tale003027'" in raised.value.message and words in raised.value.message


def test_a_task_that_cannot_fill_its_split_is_refused_with_the_numbers():
    with pytest.raises(TrainerError) as raised:
        split_task("a", records(2), BY_SEED)
    assert raised.value.code == "data_too_few_documents"
    assert "'a' has 2 documents" in raised.value.message and "0 validation" in raised.value.message


def test_cutting_the_training_split_leaves_the_others_and_nests():
    split = split_task("a", records(60), BY_SEED)
    large, small = (cut_training("a", split, count, 0) for count in (20, 8))
    assert (large.validation, large.test) == (split.validation, split.test)
    assert len(large.train) == 20 and len(small.train) == 8
    assert {r.id for r in small.train} < {r.id for r in large.train} < {r.id for r in split.train}
    assert {r.id for r in cut_training("a", split, 8, 1).train} != {r.id for r in small.train}
    assert cut_training("a", split, 36, 0) == split
    with pytest.raises(TrainerError, match="asks for 37 training documents of task 'a', which has 36"):
        cut_training("a", split, 37, 0)


TASKS = {"big": records(9), "also": records(5), "even": records(5), "tiny": records(1)}


def select(by: str, top: int = 0, names: tuple[str, ...] = (), least: int = 0) -> list[str]:
    return select_tasks(TASKS, TaskSelection(by, top, names, least, ()))  # pyright: ignore[reportArgumentType]


def test_tasks_are_ranked_by_documents_then_name():
    assert select("all") == ["big", "also", "even", "tiny"]
    assert select("top", 2) == ["big", "also"]
    assert select("all", least=5) == ["big", "also", "even"]
    assert select("names", names=("tiny", "big")) == ["tiny", "big"]


def test_a_selection_that_cannot_be_met_says_why():
    cases = {
        ("top", 4, (), 5): ("data_too_few_documents", "asks for 4 tasks; 3 have at least 5"),
        ("all", 0, (), 10): ("data_empty", "none of 4 tasks has 10 documents; the largest has 9"),
        ("names", 0, ("bigg",), 0): ("data_task_unknown", "'bigg' is not among the 4 tasks"),
        ("names", 0, ("tiny",), 2): ("data_too_few_documents", "'tiny' has 1 documents, data.tasks.minDocuments is 2"),
    }
    for arguments, (code, words) in cases.items():
        with pytest.raises(TrainerError) as raised:
            select(*arguments)
        assert raised.value.code == code and words in raised.value.message and raised.value.hint
    with pytest.raises(TrainerError) as near:
        select("names", names=("bigg",))
    assert near.value.hint == "did you mean 'big'"


def test_slugs_read_well():
    names = ["Hamlet: HAMLET", "Bjørn Lødemel", "André Oktay Dahl", "Straße", "../../etc/passwd"]
    assert task_slugs(names) == ["hamlet-hamlet", "bjorn-lodemel", "andre-oktay-dahl", "strasse", "etc-passwd"]


def test_slugs_that_would_collide_or_mislead_get_a_hash_of_the_name():
    names = ["a b", "A-B", "prior-mean", "CON", "人", "x" * 90, "x" * 91]
    slugs = task_slugs(names)
    starts = ["a-b-", "a-b-", "prior-mean-", "con-", "task-", "x" * 60 + "-", "x" * 60 + "-"]
    assert all(slug.startswith(start) for slug, start in zip(slugs, starts, strict=True))
    assert task_slugs(["A-B", "a b", "more"])[:2] == [slugs[1], slugs[0]], "stable whatever else is there"


@given(st.lists(st.text(max_size=80), unique=True, max_size=20))
def test_slugs_are_safe_and_unique(names: list[str]):
    slugs = task_slugs(names)
    assert len(set(slugs)) == len(names)
    for slug in slugs:
        assert 0 < len(slug) <= 69 and set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert slug not in ("prior-mean", "con", "nul", "com1")
