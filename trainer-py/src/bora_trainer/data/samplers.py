"""Which documents each step reads, and the weights that keep the gradient unbiased. docs/method.md, section 1.1.

A sampler is a pure function of (seed, step): a resumed run needs no generator state, and every tau of a seed sees the
same batches. What it keeps is only a cache of values it could compute again.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

from bora_trainer.data.documents import Document, TaskData
from bora_trainer.data.permutation import permutation
from bora_trainer.spec import TrainSpec

Groups = list[list[Document]]


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """A task's documents in one step; `weight` times their summed nats estimates the task's full training nats."""

    documents: tuple[Document, ...]
    weight: float


class BatchSampler(ABC):
    """`sampler(step)` gives one TaskBatch a task, in task order, for any step from 0.

    `tokens_per_step` is the mean number of scored tokens a step reads over all tasks.
    """

    tokens_per_step: float

    def __init__(self, tasks: Sequence[TaskData], seed: int) -> None:
        self._train = [task.train for task in tasks]
        self._scored = [task.scored("train") for task in tasks]
        self._seed = seed

    @abstractmethod
    def __call__(self, step: int) -> list[TaskBatch]: ...

    @property
    def steps_per_epoch(self) -> int:
        """Steps that read as many scored tokens as the training split has."""
        return math.ceil(sum(self._scored) / self.tokens_per_step - 1e-9)


def partition(documents: Sequence[Document], limit: int, *key: str | int) -> Groups:
    """Every document once, in groups of at most `limit` tokens: shuffled, then each into the fullest group with room.

    Raises ValueError when a document alone is longer than `limit`.
    """
    groups: Groups = []
    room: list[tuple[int, int]] = []  # (tokens left, group), sorted: the first with enough room is the best fit
    for index in permutation(len(documents), *key):
        need = len(documents[index].tokens)
        if need > limit:
            raise ValueError(f"document {documents[index].id} has {need} tokens, a group holds {limit}")
        at = bisect_right(room, (need, -1))
        left, group = room.pop(at) if at < len(room) else (limit, len(groups))
        if group == len(groups):
            groups.append([])
        groups[group].append(documents[index])
        insort(room, (left - need, group))
    return groups


class GroupSampler(BatchSampler):
    """Scheme B over token budgets (the default): one of the task's M_d groups a step, weight M_d.

    A task's groups are used once each in a random order, then redrawn. Whatever a partition looks like, its groups come
    in an order independent of it, so each step's group is uniform among them and M_d times its nats is unbiased.
    """

    def __init__(self, tasks: Sequence[TaskData], seed: int, tokens_per_task: int) -> None:
        super().__init__(tasks, seed)
        self._limit = tokens_per_task
        self._ends: list[list[int]] = [[] for _ in tasks]  # [task][epoch] -> first step after that epoch
        self._drawn: list[tuple[int, Groups]] = [(-1, []) for _ in tasks]  # [task] -> the epoch last drawn
        self.groups = tuple(len(self._epoch(task, 0)) for task in range(len(tasks)))  # M_d of the first epoch
        self.tokens_per_step = sum(scored / m for scored, m in zip(self._scored, self.groups, strict=True))

    @property
    def fill(self) -> tuple[float, ...]:
        """Share of each task's token budget that its first epoch fills, in (0, 1]."""
        lengths = [sum(len(document.tokens) for document in train) for train in self._train]
        return tuple(length / (m * self._limit) for length, m in zip(lengths, self.groups, strict=True))

    def __call__(self, step: int) -> list[TaskBatch]:
        return [self._batch(task, step) for task in range(len(self._train))]

    def _batch(self, task: int, step: int) -> TaskBatch:
        ends = self._ends[task]
        while not ends or ends[-1] <= step:
            ends.append((ends[-1] if ends else 0) + len(self._epoch(task, len(ends))))
        epoch = bisect_right(ends, step)
        groups = self._epoch(task, epoch)
        return TaskBatch(tuple(groups[step - ends[epoch]]), float(len(groups)))  # negative index: counted from the end

    def _epoch(self, task: int, epoch: int) -> Groups:
        if self._drawn[task][0] != epoch:
            groups = partition(self._train[task], self._limit, "groups", self._seed, task, epoch)
            order = permutation(len(groups), "order", self._seed, task, epoch)
            self._drawn[task] = (epoch, [groups[index] for index in order])
        return self._drawn[task][1]


class _Passes:
    """Endless passes over documents, each in a fresh order: `take(first, count)` is the same for any call before it."""

    def __init__(self, documents: Sequence[Document], *key: str | int) -> None:
        self._documents, self._key = documents, key
        self._order: tuple[int, list[int]] = (-1, [])

    def take(self, first: int, count: int) -> tuple[Document, ...]:
        return tuple(self._at(index) for index in range(first, first + count))

    def _at(self, index: int) -> Document:
        epoch, place = divmod(index, len(self._documents))
        if self._order[0] != epoch:
            self._order = (epoch, permutation(len(self._documents), *self._key, epoch))
        return self._documents[self._order[1][place]]


class DocumentSampler(BatchSampler):
    """Scheme B over documents: n_d of each task every step, weight N_d / n_d; n_d is fixed before anything is drawn.

    `documents_per_task` of 0 takes n_d from the token budget over the task's mean document length, at least 1.
    """

    def __init__(self, tasks: Sequence[TaskData], seed: int, documents_per_task: int, tokens_per_task: int) -> None:
        super().__init__(tasks, seed)
        self._passes = [_Passes(train, "documents", seed, task) for task, train in enumerate(self._train)]
        self.drawn = tuple(
            min(documents_per_task or _affordable(train, tokens_per_task), len(train)) for train in self._train
        )
        counts = [len(train) for train in self._train]
        self.weights = tuple(count / n for count, n in zip(counts, self.drawn, strict=True))
        self.tokens_per_step = sum(scored / w for scored, w in zip(self._scored, self.weights, strict=True))

    def __call__(self, step: int) -> list[TaskBatch]:
        each = zip(self._passes, self.drawn, self.weights, strict=True)
        return [TaskBatch(passes.take(step * n, n), weight) for passes, n, weight in each]


class UniformSampler(BatchSampler):
    """Scheme A: B documents over all tasks, weight N / B for every task; a task may have none in a step.

    B is D times `documents_per_task`, or, when that is 0, what D times the token budget affords on average.
    """

    def __init__(self, tasks: Sequence[TaskData], seed: int, documents_per_task: int, tokens_per_task: int) -> None:
        super().__init__(tasks, seed)
        documents = [document for train in self._train for document in train]
        budget = len(tasks) * tokens_per_task
        self.drawn = min(len(tasks) * documents_per_task or _affordable(documents, budget), len(documents))
        self.weight = len(documents) / self.drawn
        self.tokens_per_step = sum(self._scored) / self.weight
        self._passes = _Passes(documents, "uniform", seed)

    def __call__(self, step: int) -> list[TaskBatch]:
        rows: list[list[Document]] = [[] for _ in self._train]
        for document in self._passes.take(step * self.drawn, self.drawn):
            rows[document.task].append(document)
        return [TaskBatch(tuple(row), self.weight) for row in rows]


def _affordable(documents: Sequence[Document], budget: int) -> int:
    mean = sum(len(document.tokens) for document in documents) / len(documents)
    return max(1, math.floor(budget / mean))


def make_sampler(tasks: Sequence[TaskData], train: TrainSpec, seed: int) -> BatchSampler:
    """The sampler the experiment names, for one seed; `tasks[d]` must hold the documents with `task == d`."""
    match train.sampler:
        case "groups":
            return GroupSampler(tasks, seed, train.tokens_per_task)
        case "documents":
            return DocumentSampler(tasks, seed, train.documents_per_task, train.tokens_per_task)
        case "uniform":
            return UniformSampler(tasks, seed, train.documents_per_task, train.tokens_per_task)
