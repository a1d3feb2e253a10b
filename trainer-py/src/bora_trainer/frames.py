"""Messages between the server and its child: `u32 length | u8 kind | payload`, little-endian, over pipes.

Both processes import this module, so it imports neither gRPC (the child must not) nor torch (the server must not).
"""

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from bora_trainer.errors import TrainerError

HEADER = struct.Struct("<IB")
MAX_FRAME_BYTES = 16 * 1024 * 1024

# To the child: what to do (JSON), then the request itself (protobuf).
JOB = 1
REQUEST = 2
# From the child: an Event body, the answer of an inspection or a device probe, or why there is none.
EVENT = 3
ANSWER = 4
FAILURE = 5
# Of a child that answers one request after another: the one in hand is answered; and to it: drop the one in hand.
END = 6
DROP = 7


class Frame(NamedTuple):
    kind: int
    payload: bytes


def encode_frame(kind: int, payload: bytes) -> bytes:
    """One frame as bytes. Raises TrainerError `internal` above 16 MiB, before anything is sent."""
    _check_length(len(payload))
    return HEADER.pack(len(payload), kind) + payload


class FrameDecoder:
    """Cuts a stream of bytes, arriving in any pieces, back into frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Frames completed by `data`. Raises TrainerError `internal` on a length no sender of ours writes."""
        self._pending += data
        return list(self._complete())

    def _complete(self) -> Iterator[Frame]:
        while len(self._pending) >= HEADER.size:
            length, kind = HEADER.unpack_from(self._pending)
            _check_length(length)
            end = HEADER.size + length
            if len(self._pending) < end:
                return
            payload = bytes(self._pending[HEADER.size : end])
            del self._pending[:end]
            yield Frame(kind, payload)


def read_frame(descriptor: int) -> Frame:
    """The next frame of a blocking pipe. Raises EOFError when the other side closed it."""
    length, kind = HEADER.unpack(_read_exactly(descriptor, HEADER.size))
    _check_length(length)
    return Frame(kind, _read_exactly(descriptor, length))


def write_frame(descriptor: int, kind: int, payload: bytes) -> None:
    """Writes one frame to a blocking pipe, all of it."""
    rest = memoryview(encode_frame(kind, payload))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_exactly(descriptor: int, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(descriptor, count - len(parts))
        if not part:
            raise EOFError(f"the pipe closed after {len(parts)} of {count} bytes")
        parts += part
    return bytes(parts)


def _check_length(length: int) -> None:
    if length > MAX_FRAME_BYTES:
        raise TrainerError(
            "internal",
            f"a message of {length} bytes exceeds the limit of {MAX_FRAME_BYTES} between server and child",
            "this is a fault of the trainer; please report it with child.log",
            "infra",
        )
