"""Which tasks of a source take part, in which order."""

import difflib
from collections.abc import Mapping, Sequence

from bora_trainer.data.records import Record
from bora_trainer.errors import TrainerError
from bora_trainer.spec import TaskSelection


def select_tasks(tasks: Mapping[str, Sequence[Record]], selection: TaskSelection) -> list[str]:
    """Names of the chosen tasks: as listed for `names`, else most documents first, ties by name.

    Raises data_task_unknown for a name that is not there, data_too_few_documents for one under `min_documents` or when
    fewer tasks are left than `top` asks for, data_empty when none is left.
    """
    if selection.by == "names":
        for name in selection.names:
            _check_named(name, tasks, selection.min_documents)
        return list(selection.names)
    ranked = sorted(tasks, key=lambda name: (-len(tasks[name]), name))
    kept = [name for name in ranked if len(tasks[name]) >= selection.min_documents]
    if not kept:
        raise TrainerError(
            "data_empty",
            f"none of {len(tasks)} tasks has {selection.min_documents} documents; "
            f"the largest has {len(tasks[ranked[0]])}",
            "lower data.tasks.minDocuments",
        )
    if selection.by == "all":
        return kept
    if len(kept) < selection.top:
        raise TrainerError(
            "data_too_few_documents",
            f"data.tasks.top asks for {selection.top} tasks; "
            f"{len(kept)} have at least {selection.min_documents} documents",
            "ask for fewer tasks or lower data.tasks.minDocuments",
        )
    return kept[: selection.top]


def _check_named(name: str, tasks: Mapping[str, Sequence[Record]], min_documents: int) -> None:
    if name not in tasks:
        near = difflib.get_close_matches(name, tasks, n=3)
        largest = sorted(tasks, key=lambda task: (-len(tasks[task]), task))[:3]
        words = "did you mean" if near else "the largest are"
        raise TrainerError(
            "data_task_unknown",
            f"task {name!r} is not among the {len(tasks)} tasks of the source",
            f"{words} {', '.join(repr(task) for task in near or largest)}",
        )
    if len(tasks[name]) < min_documents:
        raise TrainerError(
            "data_too_few_documents",
            f"task {name!r} has {len(tasks[name])} documents, data.tasks.minDocuments is {min_documents}",
            "lower data.tasks.minDocuments or leave the task out",
        )
