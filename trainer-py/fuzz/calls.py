"""Every call with well-formed messages whose fields nobody means well."""

from random import Random

from fuzz import requests
from fuzz.running import RunningTrainer
from fuzz.tally import Tally


class Calls(RunningTrainer):
    def one(self, rng: Random, tally: Tally) -> None:
        method = requests.method(rng)
        self.call(tally, method, requests.request(rng, method))


def open_session() -> Calls:
    return Calls()
