"""Documents from a csv, jsonl or parquet file. Rows are numbered from 1 without the header."""

import csv
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bora_trainer.data.records import Record
from bora_trainer.errors import TrainerError
from bora_trainer.json_text import parse_json
from bora_trainer.spec import Columns, TableSource

_LONGEST_FIELD = 1 << 28  # characters; the csv module refuses fields over 128 KiB unless told otherwise

Row = Mapping[str, Any]


def read_table(source: TableSource) -> Iterator[Record]:
    """The file's records in order.

    Raises data_missing (not there or not readable), data_encoding (not UTF-8), data_malformed (with the row), and
    data_column_unknown (with the columns there are).
    """
    path = Path(source.path)
    readers = {"csv": _csv_rows, "jsonl": _jsonl_rows, "parquet": _parquet_rows}
    try:
        for number, row in enumerate(readers[source.format](path, source.columns), start=1):
            yield _record(row, number, source.columns)
    except FileNotFoundError:
        raise TrainerError("data_missing", f"there is no file {source.path}", "check data.path") from None
    except OSError as error:
        raise TrainerError(
            "data_missing",
            f"{source.path} cannot be read: {error.strerror or error}",
            "check data.path and its permissions",
        ) from error
    except UnicodeDecodeError as error:
        raise TrainerError(
            "data_encoding",
            f"{source.path} is not UTF-8: {error.reason} (byte 0x{error.object[error.start]:02x})",
            "save the file as UTF-8",
        ) from None


def _csv_rows(path: Path, columns: Columns) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        number = 0
        try:
            header = next(reader, [])
            _check_columns(header, columns)
            for number, fields in enumerate(filter(None, reader), start=1):
                if len(fields) != len(header):
                    raise _malformed(number, f"has {len(fields)} fields, the header has {len(header)}")
                yield dict(zip(header, fields, strict=True))
        except csv.Error as error:
            raise _malformed(number + 1, f"near line {reader.line_num} is not RFC 4180: {error}") from None


def _jsonl_rows(path: Path, columns: Columns) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        number = 0
        for line in file:
            if not line.strip():
                continue
            number += 1
            try:
                row = parse_json(line)
            except ValueError as error:
                raise _malformed(number, f"is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise _malformed(number, f"is a JSON {type(row).__name__}, expected an object")
            if number == 1:
                _check_columns(list(row), columns)
            yield row


def _parquet_rows(path: Path, columns: Columns) -> Iterator[Row]:
    # Imported here: it takes a quarter of a second that no other source needs.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise TrainerError("data_malformed", f"{path} is not a parquet file: {error}", "check data.format") from None
    with file:
        _check_columns(file.schema_arrow.names, columns)
        try:
            for batch in file.iter_batches(columns=_named(columns)):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:  # arrow's own word for an end that comes too early is OSError
            message = f"{path} is damaged: {error}"
            raise TrainerError("data_malformed", message, "write the file anew, or take an earlier copy") from None


def _named(columns: Columns) -> list[str]:
    every = (columns.task, columns.text, columns.prompt, columns.completion, columns.id, columns.date)
    return list(dict.fromkeys(name for name in every if name))


def _check_columns(there: list[str], columns: Columns) -> None:
    missing = [name for name in _named(columns) if name not in there]
    if missing:
        raise TrainerError(
            "data_column_unknown",
            f"no column {', '.join(repr(name) for name in missing)}; there are {', '.join(map(repr, there)) or 'none'}",
            "name the file's own columns in data.columns",
        )
    twice = sorted({name for name in _named(columns) if there.count(name) > 1})
    if twice:
        raise TrainerError("data_malformed", f"the header has {twice[0]!r} more than once", "rename one of the columns")


def _malformed(number: int, problem: str) -> TrainerError:
    return TrainerError("data_malformed", f"row {number} {problem}", "mend or remove the row")


def _record(row: Row, number: int, columns: Columns) -> Record:
    task = columns.only_task or _name(row, columns.task, number)
    return Record(
        task=task,
        id=_name(row, columns.id, number) if columns.id else str(number),
        date=_date(row, columns.date, number) if columns.date else "",
        text=_text(row, columns.text or columns.completion, number),
        prompt=_text(row, columns.prompt, number) if columns.prompt else None,
    )


def _text(row: Row, column: str, number: int) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise _malformed(number, f"has {value!r} in column {column!r}, expected text")
    return value


def _name(row: Row, column: str, number: int) -> str:
    """A task or an id: text or a whole number, not empty."""
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or str(value).strip() == "":
        raise _malformed(number, f"has {value!r} in column {column!r}, expected a name or a whole number")
    return str(value).strip()


def _date(row: Row, column: str, number: int) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value).strip()
    raise _malformed(number, f"has {value!r} in column {column!r}, expected a date")
