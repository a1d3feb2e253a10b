"""Files of hidden states that runs share: one folder an entry, bounded in size, safe for many processes and kill -9.

    <folder>/<key>/{states.bin, pieces.txt, in-use, filling}

`states.bin` is written piece by piece, in any order. After a piece its number and sha256 are appended to `pieces.txt`,
and whoever opens the entry reads every piece again and compares: what a killed process, a full disk or a damaged one
left is computed anew. So nothing needs to be synced. `in-use` carries a shared lock for as long as a process reads the
entry, `filling` an exclusive one while it is written; both end with their process.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

LIMIT_VARIABLE = "BORA_PREFIX_CACHE_BYTES"
_MOST_BYTES = 64 * 2**30
_SHARE_OF_DISK = 0.2  # of what is free with this folder empty
_STATES, _PIECES, _IN_USE, _FILLING = "states.bin", "pieces.txt", "in-use", "filling"


class NoRoom(Exception):
    """The entry does not fit; the message holds the numbers."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """All entries on this machine. `limit`: bytes of all of them; None: a fifth of the free disk, at most 64 GiB."""

    path: Path
    limit: int | None

    @classmethod
    def from_environment(cls, path: Path) -> StateFolder:
        """The limit is what BORA_PREFIX_CACHE_BYTES says, where it says a whole number; 0 turns the cache off."""
        said = os.environ.get(LIMIT_VARIABLE, "").strip()
        return cls(path, int(said) if said.isdecimal() else None)

    def claim(self, key: str, size: int) -> StateFile:
        """The entry `key` of `size` bytes, held against removal until it is closed.

        Where it is not there yet, entries that nobody uses make room for it, least recently used first. Raises
        `NoRoom`; OSError when the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / ".lock"):
            entry = self.path / key
            if _size(entry) != size:
                self._make_room(entry, size)
                entry.mkdir(exist_ok=True)
                (entry / _PIECES).write_bytes(b"")
                beside = entry / f"{_STATES}.new"
                with beside.open("wb") as stream:
                    _reserve(stream.fileno(), size)
                beside.replace(entry / _STATES)  # never shorter under a process that reads it
            return StateFile(entry)

    def _make_room(self, wanted: Path, size: int) -> None:
        others = [entry for entry in self.path.iterdir() if entry.is_dir() and entry != wanted]
        held = {entry: _disk_bytes(entry) for entry in others}
        free = shutil.disk_usage(self.path).free
        limit = self.limit if self.limit is not None else self._default_limit(free + sum(held.values()))
        if size > limit:
            raise NoRoom(f"they need {_words(size)}, {_words(limit)} are allowed ({LIMIT_VARIABLE})")
        total = sum(_size(entry) or 0 for entry in others)
        for entry in sorted(others, key=_last_use):
            if total + size <= limit and size <= free:
                break
            before, there = _size(entry) or 0, held[entry]
            if _remove_unused(entry):
                total, free = total - before, free + there
        if total + size > limit:
            raise NoRoom(
                f"they need {_words(size)} beside {_words(total)} that other runs use, "
                f"{_words(limit)} are allowed ({LIMIT_VARIABLE})"
            )
        if size > free:
            raise NoRoom(f"they need {_words(size)}, {self.path} has {_words(free)} free")

    @staticmethod
    def _default_limit(free: int) -> int:
        return min(_MOST_BYTES, int(free * _SHARE_OF_DISK))


class StateFile:
    """One entry in use. Only `StateFolder.claim` makes one."""

    def __init__(self, entry: Path) -> None:
        self._entry = entry
        self._lock = FileLock(entry / _FILLING)
        self._in_use = os.open(entry / _IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._in_use, fcntl.LOCK_SH)
        os.utime(entry / _IN_USE)

    def try_to_fill(self) -> bool:
        """Whether this process may write now; False while another one does. `filled` gives it back."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def filled(self) -> None:
        self._lock.release()

    def whole_pieces(self, spans: Sequence[tuple[int, int]]) -> set[int]:
        """Numbers of the pieces whose bytes are those that were written; piece i lies in bytes spans[i]."""
        hashes = dict(_lines(self._entry / _PIECES))  # of a piece that was written twice the last line counts
        with (self._entry / _STATES).open("rb") as stream:
            return {
                number
                for number, (start, end) in enumerate(spans)
                if number in hashes and hashes[number] == _sha256(stream.fileno(), start, end - start)
            }

    def write(self, number: int, start: int, content: bytes) -> None:
        """Writes a piece from byte `start`. Raises OSError, for instance when the disk is full."""
        with (self._entry / _STATES).open("r+b") as stream:
            stream.seek(start)
            stream.write(content)
        with (self._entry / _PIECES).open("ab") as stream:
            stream.write(f"\n{number} {hashlib.sha256(content).hexdigest()}".encode())  # not behind half a line

    def read(self, dtype: torch.dtype, width: int) -> Tensor:
        """All states, [M, width], mapped from the file."""
        file = self._entry / _STATES
        count = file.stat().st_size // dtype.itemsize
        return torch.from_file(str(file), shared=False, size=count, dtype=dtype).view(-1, width)

    def close(self) -> None:
        os.close(self._in_use)


def _reserve(descriptor: int, size: int) -> None:
    """Makes the file `size` bytes long, so that they are there when they are written. Raises OSError without room."""
    if hasattr(os, "posix_fallocate") and size > 0:
        os.posix_fallocate(descriptor, 0, size)
    os.truncate(descriptor, size)


def _lines(file: Path) -> list[tuple[int, str]]:
    """(number, sha256) of each line of that form: a killed writer may have left a part of one."""
    text = file.read_text("ascii", errors="replace") if file.exists() else ""
    found = (line.split(" ") for line in text.splitlines())
    return [(int(line[0]), line[1]) for line in found if len(line) == 2 and line[0].isdecimal()]


def _sha256(descriptor: int, start: int, size: int) -> str:
    return hashlib.sha256(os.pread(descriptor, size, start)).hexdigest()


def _size(entry: Path) -> int | None:
    try:
        return (entry / _STATES).stat().st_size
    except OSError:
        return None


def _disk_bytes(entry: Path) -> int:
    """What it takes of the disk: a file that is not filled yet has holes."""
    try:
        return (entry / _STATES).stat().st_blocks * 512
    except OSError:
        return 0


def _last_use(entry: Path) -> float:
    try:
        return (entry / _IN_USE).stat().st_mtime
    except OSError:
        return 0.0


def _remove_unused(entry: Path) -> bool:
    descriptor = os.open(entry / _IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _words(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
