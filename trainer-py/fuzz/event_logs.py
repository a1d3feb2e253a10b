"""Event files as a crash, a failing disk or another program leaves them: read, opened for writing and gone on with."""

import struct
import tempfile
import uuid
import zlib
from collections.abc import Iterable
from pathlib import Path
from random import Random

from bora.trainer.v1 import event_pb2
from bora_trainer.artifacts_reader import ArtifactIndex
from bora_trainer.event_log import EventLog, read_events
from bora_trainer.run_keeper import MAX_FIRST_SEQ
from fuzz import hostile
from fuzz.tally import Tally, Unsound, judge

RUN_ID = str(uuid.UUID(int=7))
HEADER = struct.Struct("<II")


def record(payload: bytes) -> bytes:
    return HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def event(rng: Random, seq: int) -> bytes:
    whole = event_pb2.Event(run_id=RUN_ID, seq=seq, attempt=1 + seq // 4)
    body = rng.choice(event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields)
    part = getattr(whole, body.name)
    part.SetInParent()
    hostile.fill(rng, part, 0.3)
    return whole.SerializeToString()


def log(rng: Random) -> bytes:
    """Whole records, some of them damaged, doubled, lost or out of order; then perhaps bytes of the whole file."""
    payloads = [event(rng, seq) for seq in range(1, rng.randint(2, 12))]
    if rng.random() < 0.3:
        at = rng.randrange(len(payloads))
        payloads[at] = hostile.mutated_bytes(rng, payloads[at])  # with a checksum that is right
    if rng.random() < 0.2:
        payloads.insert(rng.randrange(len(payloads)), rng.choice(payloads))
    if rng.random() < 0.2:
        rng.shuffle(payloads)
    content = b"".join(map(record, payloads))
    kind = rng.random()
    if kind < 0.1:
        return content + bytes(rng.choice((1, 8, 512)))  # what a power cut can leave
    if kind < 0.4:
        return hostile.mutated_bytes(rng, content)
    return content[: rng.randint(0, len(content))] if kind < 0.6 else content


class EventLogs:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bora-fuzz-")
        self._file = Path(self._folder.name) / RUN_ID / "events.bin"
        self._file.parent.mkdir()

    def run(self, rng: Random, count: int) -> Tally:
        return judge(rng, count, log, self._read)

    def close(self) -> None:
        self._folder.cleanup()

    def _read(self, content: bytes) -> None:
        self._file.with_name("attempt").unlink(missing_ok=True)
        self._file.write_bytes(content)
        before = list(read_events(self._file, 0))
        opened = EventLog(self._file, RUN_ID)
        try:
            first = min(opened.last_seq + 1, MAX_FIRST_SEQ)
            opened.begin(min(opened.attempt + 1, 2**32 - 1), first)  # a request holds no more
            added = opened.append([event_pb2.Event(run_done=event_pb2.RunDone(seconds=1))])
            if [found.seq for found in opened.read(first - 1)] != [added[0].seq]:
                raise Unsound("an event that was appended is not read back")
        finally:
            opened.close()
        after = list(read_events(self._file, 0))
        if _texts(after) != _texts([*(event for event in before if event.seq < first), *added]):
            raise Unsound(f"{len(before)} events before, {len(after)} after one was added")
        ArtifactIndex(self._file.parent).note(before)


def _texts(events: Iterable[event_pb2.Event]) -> list[bytes]:
    """To compare by: a message that holds a NaN is not equal to itself."""
    return [event.SerializeToString(deterministic=True) for event in events]


def open_session() -> EventLogs:
    return EventLogs()
