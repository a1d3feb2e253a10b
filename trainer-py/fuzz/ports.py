"""Bytes that are neither HTTP/2 nor ZeroMQ, or begin as they do, at the two ports that a trainer listens on."""

import contextlib
import socket
from random import Random

from fuzz import hostile
from fuzz.running import RunningTrainer
from fuzz.tally import Tally

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
SECONDS = 5.0


def http2(rng: Random) -> bytes:
    """A preface and frames of random types, lengths, flags and streams."""
    frames = b""
    for _ in range(rng.randint(0, 6)):
        body = rng.randbytes(rng.choice((0, 4, 5, 8, 50)))
        length = len(body) if rng.random() < 0.8 else rng.choice((0, 2**14 + 1, 2**24 - 1))
        stream = rng.choice((0, 1, 3, 2**31 - 1)).to_bytes(4, "big")
        frames += length.to_bytes(3, "big") + bytes((rng.randint(0, 12), rng.choice((0, 1, 4, 5, 255)))) + stream + body
    return PREFACE + SETTINGS + frames


def zmtp(rng: Random) -> bytes:
    """A greeting of a mechanism, then commands that do not belong there, or promise more than they send."""
    mechanism = rng.choice((b"CURVE", b"NULL", b"PLAIN", b"", b"x" * 20)).ljust(20, b"\0")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03" + bytes((rng.randint(0, 3),)) + mechanism + bytes(32)
    said = b""
    for _ in range(rng.randint(0, 4)):
        name = rng.choice((b"HELLO", b"INITIATE", b"READY", b"SUBSCRIBE", b"MESSAGE", b""))
        body = bytes((len(name),)) + name + rng.randbytes(rng.choice((0, 10, 194)))
        length = len(body) if rng.random() < 0.8 else rng.choice((0, 255))
        said += bytes((rng.choice((0, 1, 4, 6, 255)), length)) + body
    return greeting + said


class Ports(RunningTrainer):
    def one(self, rng: Random, tally: Tally) -> None:
        events = rng.random() < 0.5
        whole = zmtp(rng) if events else http2(rng)
        kind = rng.random()
        said = whole if kind < 0.5 else hostile.mutated_bytes(rng, whole) if kind < 0.8 else rng.randbytes(500)
        endpoint = self.trainer.call("Describe").events_endpoint if events else self.trainer.ready["address"]
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        try:
            with socket.create_connection((host, int(port)), SECONDS) as peer:
                peer.settimeout(0.02)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    peer.sendall(said)
                    while peer.recv(65_536):
                        pass
        except OSError as error:
            tally.crash(f"nobody listens at {endpoint}: {error}")
            return
        tally.refused["dropped"] += 1


def open_session() -> Ports:
    return Ports()
