"""Bytes where a message should be: random ones, and messages that were cut, flipped or lengthened."""

from random import Random

from fuzz import hostile, requests
from fuzz.running import RunningTrainer
from fuzz.tally import Tally


class Payloads(RunningTrainer):
    def one(self, rng: Random, tally: Tally) -> None:
        method = requests.method(rng)
        whole = requests.whole(rng, requests.method(rng) if rng.random() < 0.1 else method).SerializeToString()
        kind = rng.random()
        payload = hostile.mutated_bytes(rng, whole) if kind < 0.8 else rng.randbytes(rng.choice((0, 1, 9, 300, 70_000)))
        self.call(tally, method, payload)


def open_session() -> Payloads:
    return Payloads()
