"""One append-only file of events a run: the trainer's durable memory of what it said.

Record: `u32 length | u32 crc32 | Event`, little-endian. An event gets its number here and nowhere else, and is on disk
(fsync) before anyone may see it. A tail torn by a crash is cut off when the file is opened for writing. The file is
never rewritten; only a new attempt cuts it, at the number it is told to go on from.
"""

import contextlib
import os
import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from bora.trainer.v1 import event_pb2
from bora_trainer.errors import TrainerError
from bora_trainer.fence import Fence

HEADER = struct.Struct("<II")
MAX_EVENT_BYTES = 64 * 1024
_MOST_EVENTS = 2**32 - 1  # seq is a uint32


class EventLog:
    """Numbers, stores and re-reads the events of one run. One writer; readers may be in other threads.

    `last_seq` is the number of the last durable event, or `first_seq - 1` when an attempt has written none yet.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self.run_id = run_id
        self.attempt = 0
        self._fence = Fence(path.parent, 0)
        self.torn_bytes = 0
        self._seqs = array("L")
        self._offsets = array("Q")
        self._end = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - held for the life of the log
        self._index()
        self.last_seq = self._seqs[-1] if self._seqs else 0

    def begin(self, attempt: int, first_seq: int) -> None:
        """Starts an attempt whose first event gets `first_seq`: later numbers of older attempts are dropped.

        Raises TrainerError `stale_attempt` when the file already holds events of this attempt or a later one.
        """
        if attempt <= self.attempt:
            raise TrainerError(
                "stale_attempt",
                f"run {self.run_id}: attempt {attempt} asked for, but the event file holds attempt {self.attempt}",
                "start the run again with a higher attempt",
                "controller",
            )
        self._fence = Fence(self.path.parent, attempt)
        self._fence.take()
        keep = bisect_left(self._seqs, first_seq)
        if keep < len(self._seqs):
            self._truncate(self._offsets[keep])
            del self._seqs[keep:], self._offsets[keep:]
        self.attempt = attempt
        self.last_seq = first_seq - 1

    def append(self, bodies: Sequence[event_pb2.Event]) -> list[event_pb2.Event]:
        """Numbers and stores events (body and trial_id set) with one fsync for all; returns them complete.

        Raises TrainerError `internal` above 64 KiB or when a damaged log leaves no number, `disk_full` when nothing
        more fits and `stale_attempt` when a later attempt has begun, here or on another trainer; either way the file
        holds whole records only and no number is used up.
        """
        if self.last_seq + len(bodies) > _MOST_EVENTS:
            message = f"no number is left after event {self.last_seq} of {self.path.name}"
            raise TrainerError("internal", message, "another program changed the file: retry the trial")
        events = [self._complete(body, self.last_seq + 1 + index) for index, body in enumerate(bodies)]
        records = [_record(event) for event in events]
        try:
            with self._fence.held():
                self._write_whole(b"".join(records))
        except OSError as error:
            raise TrainerError(
                "disk_full",
                f"cannot append to {self.path.name}: {error}",
                "free space under the run root",
                "controller",
            ) from error
        for event, record in zip(events, records, strict=True):
            self._offsets.append(self._end)
            self._seqs.append(event.seq)
            self._end += len(record)
        if events:
            self.last_seq = events[-1].seq
        return events

    def read(self, after_seq: int) -> Iterator[event_pb2.Event]:
        """Durable events with seq > `after_seq`, in order, as far as they reach at the time of the call."""
        first = bisect_right(self._seqs, after_seq)
        if first >= len(self._offsets):
            return
        with open(self.path, "rb") as file:
            yield from (event for event, _ in _records(file, self._offsets[first], self._end))

    def close(self) -> None:
        self._file.close()

    def _complete(self, body: event_pb2.Event, seq: int) -> event_pb2.Event:
        event = event_pb2.Event()
        event.CopyFrom(body)
        event.run_id, event.seq, event.attempt = self.run_id, seq, self.attempt
        event.at.GetCurrentTime()
        return event

    def _write_whole(self, data: bytes) -> None:
        """All of it, or nothing. Raises OSError."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):  # what stays is torn and will be found when the file is opened again
                self._file.truncate(self._end)
            raise

    def _truncate(self, end: int) -> None:
        self._file.truncate(end)
        os.fsync(self._file.fileno())
        self._end = end

    def _index(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        with open(self.path, "rb") as file:
            for event, offset in _records(file, 0, size):
                self._seqs.append(event.seq)
                self._offsets.append(offset)
                self._end = file.tell()
                self.attempt = max(self.attempt, event.attempt)
        if self._end < size:
            self.torn_bytes = size - self._end
            self._truncate(self._end)


def read_events(path: Path, after_seq: int) -> Iterator[event_pb2.Event]:
    """Events of a file that no one writes any more, with seq > `after_seq`; a torn tail is left out, not cut off."""
    with open(path, "rb") as file:
        for event, _ in _records(file, 0, os.fstat(file.fileno()).st_size):
            if event.seq > after_seq:
                yield event


def _record(event: event_pb2.Event) -> bytes:
    payload = event.SerializeToString()
    if len(payload) > MAX_EVENT_BYTES:
        raise TrainerError(
            "internal",
            f"an event ({event.WhichOneof('body')}) of {len(payload)} bytes exceeds {MAX_EVENT_BYTES}",
            "this is a fault of the trainer; please report it with child.log",
            "infra",
        )
    return HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def _records(file: BinaryIO, start: int, end: int) -> Iterator[tuple[event_pb2.Event, int]]:
    """Whole records in [start, end) with their offsets; stops before the first that is cut short or damaged.

    Numbers rise: a power cut can leave zeros at the end of a file, and eight of them are a whole record of no event.
    """
    file.seek(start)
    offset, last_seq = start, 0
    while offset + HEADER.size <= end:
        header = file.read(HEADER.size)
        if len(header) < HEADER.size:  # a later attempt cut the file meanwhile
            return
        length, checksum = HEADER.unpack(header)
        if length > MAX_EVENT_BYTES or offset + HEADER.size + length > end:
            return
        payload = file.read(length)
        if zlib.crc32(payload) != checksum:
            return
        try:
            event = event_pb2.Event.FromString(payload)
        except DecodeError:  # the checksum is that of the damaged bytes
            return
        if event.seq <= last_seq:
            return
        last_seq = event.seq
        yield event, offset
        offset += HEADER.size + length
