"""Folder names for tasks: safe on every file system, unique in a run, and the same from run to run."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# Letters that Unicode does not decompose into a base letter and an accent.
_LETTERS = str.maketrans({"æ": "ae", "ø": "o", "å": "a", "œ": "oe", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})
# "prior-mean" is the folder of Theta beside the tasks' own; the others are device names on Windows.
_RESERVED = {"prior-mean", "con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_LONGEST = 60


def task_slugs(names: Sequence[str]) -> list[str]:
    """One slug of [a-z0-9-], at most 69 characters, for each distinct name.

    A name whose plain slug is empty, reserved or shared with another name gets eight digits of its own hash.
    """
    plain = [_plain(name) for name in names]
    shared = Counter(plain)
    clear = [slug not in _RESERVED and slug != "" and shared[slug] == 1 for slug in plain]
    slugs = [slug if ok else _with_hash(slug, name) for slug, ok, name in zip(plain, clear, names, strict=True)]
    again = Counter(slugs)
    return [slug if again[slug] == 1 else _with_hash(slug, name) for slug, name in zip(slugs, names, strict=True)]


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.lower().translate(_LETTERS)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:_LONGEST].strip("-")


def _with_hash(slug: str, name: str) -> str:
    return f"{slug[:_LONGEST] or 'task'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
