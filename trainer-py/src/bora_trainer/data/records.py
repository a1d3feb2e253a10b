"""A document as its source has it, before tokens, and the checks every source shares."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from bora_trainer.errors import TrainerError


@dataclass(frozen=True, slots=True)
class Record:
    """Text of one document. Only `text` is scored; `prompt` is None for plain text. `date` is "" when there is none."""

    task: str
    id: str
    date: str
    text: str
    prompt: str | None = None


def by_task(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by task, both in the source's order.

    Raises data_duplicate_id when a task has an id twice, data_empty when there are no records.
    """
    tasks: dict[str, list[Record]] = {}
    seen: set[tuple[str, str]] = set()
    for record in records:
        if (record.task, record.id) in seen:
            raise TrainerError(
                "data_duplicate_id",
                f"task {record.task!r} has more than one document with id {record.id!r}",
                "make ids unique within a task, or leave data.columns.id out to use row numbers",
            )
        seen.add((record.task, record.id))
        tasks.setdefault(record.task, []).append(record)
    if not tasks:
        raise TrainerError("data_empty", "the source has 0 documents", "check data.path, its filters and its columns")
    return tasks


def parse_date(record: Record) -> datetime:
    """A record's date as naive UTC. Raises data_malformed for a date that is missing or not ISO 8601."""
    try:
        moment = datetime.fromisoformat(record.date)
    except ValueError:
        problem = f"date {record.date!r}, which is not an ISO 8601 date" if record.date else "no date"
        raise TrainerError(
            "data_malformed",
            f"document {record.id!r} of task {record.task!r} has {problem}",
            "a split by date needs a date such as 1999-05-12 in every document; or split by seed",
        ) from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
