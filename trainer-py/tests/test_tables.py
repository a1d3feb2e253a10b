"""csv (RFC 4180), jsonl and parquet give the same records; what is wrong in a file is named with its row."""

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from texts import COLUMNS, write_jsonl

from bora_trainer.data.records import Record, by_task
from bora_trainer.data.tables import read_table
from bora_trainer.errors import TrainerError
from bora_trainer.spec import Columns, TableFormat, TableSource

RECORDS = [
    Record("Åse", "1", "2001-05-12", 'She said "no",\nthen\r\nleft.'),
    Record("Bo", "2", "2001-05-13", "  spaces kept  "),
]
PAIRS = Columns(task="who", text="", prompt="question", completion="answer", id="", date="")


def read(path: Path, kind: TableFormat, columns: Columns = COLUMNS) -> list[Record]:
    return list(read_table(TableSource(kind, str(path), columns)))


def failure(path: Path, kind: TableFormat, columns: Columns = COLUMNS) -> TrainerError:
    with pytest.raises(TrainerError) as raised:
        read(path, kind, columns)
    assert raised.value.hint and raised.value.domain == "user"
    return raised.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    quoted = ['"' + record.text.replace('"', '""') + '"' for record in RECORDS]
    lines = [f"{r.id},{r.date},{r.task},extra,{text}\r\n" for r, text in zip(RECORDS, quoted, strict=True)]
    (tmp_path / "x.csv").write_bytes(("\ufeffid,date,who,more,text\r\n" + "".join(lines) + "\r\n").encode())
    rows = [{"id": int(r.id), "date": r.date, "who": r.task, "text": r.text} for r in RECORDS]
    write_jsonl(tmp_path / "x.jsonl", rows)
    dates = [datetime.date.fromisoformat(r.date) for r in RECORDS]
    columns = {"id": [1, 2], "date": dates, "who": [r.task for r in RECORDS], "text": [r.text for r in RECORDS]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_three_formats_give_the_same_records(folder: Path, kind: TableFormat):
    assert read(folder / f"x.{kind}", kind) == RECORDS


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_unknown_column_names_those_there_are(folder: Path, kind: TableFormat):
    error = failure(folder / f"x.{kind}", kind, Columns("speaker", "text", "", "", "id", ""))
    assert error.code == "data_column_unknown"
    assert "'speaker'" in error.message and "'who'" in error.message and "'text'" in error.message


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_missing_file_and_a_folder_are_missing(tmp_path: Path, kind: TableFormat):
    assert failure(tmp_path / "none", kind).code == "data_missing"
    assert failure(tmp_path, kind).code == "data_missing"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_other_encodings_are_refused(tmp_path: Path, kind: TableFormat):
    path = tmp_path / "x"
    path.write_bytes("id,date,who,text\n1,,Åse,hei\n".encode("latin-1") if kind == "csv" else b'{"who": "\xc5se"}\n')
    error = failure(path, kind)
    assert error.code == "data_encoding" and "0xc5" in error.message


def test_row_numbers_are_the_ids_when_there_is_no_id_column(folder: Path):
    columns = Columns("who", "text", "", "", "", "")
    assert [(r.id, r.date) for r in read(folder / "x.csv", "csv", columns)] == [("1", ""), ("2", "")]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_row_is_of_the_only_task_where_no_column_says_it(folder: Path, kind: TableFormat):
    columns = Columns(task="", text="text", prompt="", completion="", id="", date="", only_task="Me")
    assert [(record.task, record.id) for record in read(folder / f"x.{kind}", kind, columns)] == [
        ("Me", "1"),
        ("Me", "2"),
    ]


def test_prompt_and_completion(tmp_path: Path):
    path = write_jsonl(tmp_path / "x", [{"who": "a", "question": "2+2?", "answer": "4"}])
    assert read(path, "jsonl", PAIRS) == [Record("a", "1", "", "4", "2+2?")]


CSV_HEAD = "id,date,who,text\n1,2001-01-01,a,fine\n"
MALFORMED: list[tuple[TableFormat, str, str]] = [
    ("csv", CSV_HEAD + "2,2001-01-01,a\n", "row 2 has 3 fields, the header has 4"),
    ("csv", CSV_HEAD + '2,2001-01-01,a,"open\n', "row 2 near line 3 is not RFC 4180"),
    ("csv", CSV_HEAD + '2,2001-01-01,a,"shut" late\n', "row 2 near line 3 is not RFC 4180"),
    ("csv", CSV_HEAD + "2,2001-01-01, ,text\n", "row 2 has ' ' in column 'who'"),
    ("csv", "id,date,who,text,text\n", "more than once"),
    ("jsonl", '{"id": 1, "who": "a", "text": "t", "date": null}\n\n{oops\n', "row 2 is not JSON"),
    ("jsonl", "[1]\n", "row 1 is a JSON list"),
    ("jsonl", '{"id": 1, "who": "a", "text": "t", "date": ""}\n{"id": 2, "who": "a", "date": ""}\n', "row 2 has None"),
    ("jsonl", '{"id": true, "who": "a", "text": "t", "date": ""}\n', "row 1 has True in column 'id'"),
    ("jsonl", '{"id": 1, "who": "a", "text": 3, "date": ""}\n', "row 1 has 3 in column 'text', expected text"),
    ("jsonl", '{"id": 1, "who": "a", "text": "t", "date": 1.5}\n', "row 1 has 1.5 in column 'date'"),
    ("parquet", "PAR? not at all", "is not a parquet file"),
]


@pytest.mark.parametrize(("kind", "content", "words"), MALFORMED, ids=[words for _, _, words in MALFORMED])
def test_malformed_rows_are_named(tmp_path: Path, kind: TableFormat, content: str, words: str):
    path = tmp_path / "x"
    path.write_text(content, encoding="utf-8")
    error = failure(path, kind)
    assert error.code == "data_malformed" and words in error.message


def test_a_parquet_file_damaged_in_its_pages_is_refused(tmp_path: Path):
    path = tmp_path / "x.parquet"
    columns = {"id": ["1", "2"], "who": ["a", "b"], "text": ["one", "two"], "date": ["2001-01-01"] * 2}
    pq.write_table(pa.table(columns), path)
    whole = path.read_bytes()
    refused = 0
    for at in range(4, 120):  # the first pages; what is left may be read as other texts, or as no parquet file
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read(path, "parquet")
        except TrainerError as error:
            assert error.code in {"data_malformed", "data_encoding", "data_empty", "data_duplicate_id"}, error
            refused += "is damaged" in error.message
    assert refused > 0


def test_fields_longer_than_the_csv_modules_own_limit(tmp_path: Path):
    path = tmp_path / "x"
    path.write_text(CSV_HEAD + f"2,2001-01-01,a,{'long ' * 40_000}\n")
    assert len(read(path, "csv")[1].text) == 200_000


def test_an_empty_source_and_a_repeated_id_are_refused(tmp_path: Path):
    (tmp_path / "x").write_text("id,date,who,text\n")
    with pytest.raises(TrainerError) as empty:
        by_task(read(tmp_path / "x", "csv"))
    assert empty.value.code == "data_empty"
    with pytest.raises(TrainerError) as twice:
        by_task([Record("a", "7", "", "t"), Record("b", "7", "", "t"), Record("a", "7", "", "u")])
    assert twice.value.code == "data_duplicate_id" and "'7'" in twice.value.message and "'a'" in twice.value.message
