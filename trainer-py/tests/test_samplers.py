"""Every scheme is unbiased, a pure function of (seed, step), and reads each document equally often. method.md, 1.1."""

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import run_message

from bora_trainer.data.documents import Document, TaskData
from bora_trainer.data.permutation import permutation
from bora_trainer.data.samplers import (
    BatchSampler,
    DocumentSampler,
    GroupSampler,
    UniformSampler,
    make_sampler,
    partition,
)
from bora_trainer.spec import RunSpec

LIMIT = 20


def document(task: int, number: int, length: int) -> Document:
    return Document(task, str(number), "", tuple(range(length)), 1, length)


def tasks_of(lengths: list[list[int]]) -> list[TaskData]:
    return [
        TaskData(f"t{d}", f"t{d}", tuple(document(d, i, n) for i, n in enumerate(of_task)), (), (), 0, 0)
        for d, of_task in enumerate(lengths)
    ]


TASKS = st.lists(st.lists(st.integers(2, LIMIT), min_size=1, max_size=12), min_size=1, max_size=4).map(tasks_of)
SEEDS = st.integers(0, 2**32 - 1)


def value(document: Document) -> Fraction:
    """Stands in for a document's nats: anything at all that differs between documents."""
    return Fraction(7 * document.task + 3 * int(document.id) + len(document.tokens))


def full_sums(tasks: list[TaskData]) -> list[Fraction]:
    return [sum(map(value, task.train), Fraction(0)) for task in tasks]


def mean_of_weighted(sampler: BatchSampler, task: int, steps: int) -> Fraction:
    batches = [sampler(step)[task] for step in range(steps)]
    return sum((Fraction(b.weight) * sum(map(value, b.documents), Fraction(0)) for b in batches), Fraction(0)) / steps


@given(tasks=TASKS, seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_groups_partition_the_documents_and_their_weighted_sum_is_unbiased(tasks: list[TaskData], seed: int):
    sampler = GroupSampler(tasks, seed, LIMIT)
    for d, task in enumerate(tasks):
        groups = sampler.groups[d]
        batches = [sampler(step)[d] for step in range(groups)]
        assert Counter(one.id for batch in batches for one in batch.documents) == Counter(one.id for one in task.train)
        assert all(sum(len(one.tokens) for one in batch.documents) <= LIMIT for batch in batches)
        assert {batch.weight for batch in batches} == {float(groups)}
        assert mean_of_weighted(sampler, d, groups) == full_sums(tasks)[d]


def test_groups_are_redrawn_once_all_were_used():
    tasks = tasks_of([[5 + 7 * i % 15 for i in range(30)]])
    sampler, step, epochs = GroupSampler(tasks, 3, LIMIT), 0, []
    for _ in range(4):
        groups = int(sampler(step)[0].weight)
        batches = [sampler(step + place)[0] for place in range(groups)]
        assert {batch.weight for batch in batches} == {groups}
        assert sorted(int(one.id) for batch in batches for one in batch.documents) == list(range(30))
        epochs.append({frozenset(one.id for one in batch.documents) for batch in batches})
        step += groups
    assert all(one != other for one, other in zip(epochs, epochs[1:], strict=False)), "fresh groups, not a fresh order"


@given(tasks=TASKS, seed=SEEDS, n=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_documents_are_drawn_equally_often_and_unbiased(tasks: list[TaskData], seed: int, n: int):
    sampler = DocumentSampler(tasks, seed, n, 0)
    for d, task in enumerate(tasks):
        steps = len(task.train)
        drawn = Counter(one.id for step in range(steps) for one in sampler(step)[d].documents)
        assert set(drawn.values()) == {sampler.drawn[d]} and len(drawn) == len(task.train)
        weight = Fraction(len(task.train), sampler.drawn[d])
        assert sampler.weights[d] == float(weight)
        total = sum((value(one) for step in range(steps) for one in sampler(step)[d].documents), Fraction(0))
        assert weight * total / steps == full_sums(tasks)[d]


@given(tasks=TASKS, seed=SEEDS, n=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_uniform_documents_are_unbiased_for_every_task(tasks: list[TaskData], seed: int, n: int):
    sampler = UniformSampler(tasks, seed, n, 0)
    steps = sum(len(task.train) for task in tasks)
    weight = Fraction(steps, sampler.drawn)
    assert sampler.weight == float(weight)
    batches = [sampler(step) for step in range(steps)]
    assert all(sum(len(batch.documents) for batch in step) == sampler.drawn for step in batches)
    for d, full in enumerate(full_sums(tasks)):
        assert all(one.task == d for step in batches for one in step[d].documents)
        assert weight * sum((value(one) for step in batches for one in step[d].documents), Fraction(0)) / steps == full


def test_a_groups_step_is_unbiased_over_seeds():
    """Within one step, not only over an epoch: groups of different sizes are drawn equally often at any step."""
    tasks = tasks_of([[18, 9, 9, 4, 3, 17]])
    full = float(full_sums(tasks)[0])
    for step in (0, 1, 5):
        draws = [GroupSampler(tasks, seed, LIMIT)(step)[0] for seed in range(1500)]
        values = [batch.weight * float(sum(map(value, batch.documents))) for batch in draws]
        mean = sum(values) / len(values)
        error = (sum((v - mean) ** 2 for v in values) / len(values) / len(values)) ** 0.5
        assert abs(mean - full) < 4 * error


def make(kind: str, tasks: list[TaskData], seed: int) -> BatchSampler:
    train = RunSpec.from_proto(run_message()).train
    return make_sampler(tasks, replace(train, sampler=kind, tokens_per_task=LIMIT), seed)  # pyright: ignore


@pytest.mark.parametrize("kind", ["groups", "documents", "uniform"])
def test_a_step_depends_on_seed_and_step_only(kind: str):
    tasks = tasks_of([[12, 3, 7, 9, 20], [5, 5, 5], [11, 2, 2, 2, 8, 8, 14, 6]])
    sampler = make(kind, tasks, 5)
    in_order = [sampler(step) for step in range(40)]
    shuffled = list(range(40))
    random.Random(0).shuffle(shuffled)
    other = make(kind, tasks, 5)
    assert {step: other(step) for step in shuffled} == dict(enumerate(in_order))
    assert make(kind, tasks, 5)(39) == in_order[39], "a resumed run must not need the steps before"
    assert [make(kind, tasks, 6)(step) for step in range(40)] != in_order


@pytest.mark.parametrize("kind", ["groups", "documents", "uniform"])
def test_an_epoch_reads_as_many_scored_tokens_as_there_are(kind: str):
    tasks = tasks_of([[10] * 12, [10] * 6])
    sampler = make(kind, tasks, 0)
    scored = sum(task.scored("train") for task in tasks)
    read = [
        sum(one.scored for batch in sampler(step) for one in batch.documents) for step in range(sampler.steps_per_epoch)
    ]
    assert sampler.tokens_per_step == 36.0
    assert sampler.steps_per_epoch == 5 and sum(read) == 180 >= scored


def test_a_token_budget_fixes_the_number_of_documents_before_drawing():
    tasks = tasks_of([[4, 8, 12], [19, 20], [2] * 5])
    sampler = DocumentSampler(tasks, 0, 0, LIMIT)
    assert sampler.drawn == (2, 1, 5), "20 tokens over mean lengths 8, 19.5 and 2, at most all documents"
    assert UniformSampler(tasks, 0, 0, LIMIT).drawn == 8, "60 tokens over a mean length of 7.3"


def test_groups_are_well_filled():
    """Best fit leaves at most a tenth of the budget empty on mixed lengths; the share is reported."""
    lengths = [2 + 13 * i % 19 for i in range(400)]
    sampler = GroupSampler(tasks_of([lengths]), 0, 4 * LIMIT)
    assert sampler.fill[0] == sum(lengths) / (sampler.groups[0] * 4 * LIMIT)
    assert 0.9 < sampler.fill[0] <= 1.0


def test_a_document_longer_than_a_group_is_refused():
    with pytest.raises(ValueError, match="has 21 tokens, a group holds 20"):
        partition([document(0, 0, 21)], LIMIT, 0)


def test_permutations_are_the_same_everywhere():
    """Frozen values: a Python version or platform that changed them would change every run's batches."""
    assert permutation(8, "groups", 0, 0, 0) == [4, 2, 1, 3, 7, 0, 6, 5]
    assert sorted(permutation(100, "x")) == list(range(100))
