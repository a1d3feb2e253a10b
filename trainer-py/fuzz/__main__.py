"""`python -m fuzz TARGET`: reads `{"seed", "count"}` a line and answers each with a tally, until its input ends."""

import gc
import importlib
import json
import logging
import random
import sys
from pathlib import Path

import psutil

from fuzz.tally import Session

sys.path.append(str(Path(__file__).parents[1] / "tests/server"))  # a trainer process for a test is one for this too


def main() -> None:
    logging.disable(logging.CRITICAL)  # a damaged file is told of in the log each time, and nothing reads it here
    session: Session = importlib.import_module(f"fuzz.{sys.argv[1]}").open_session()
    try:
        for line in sys.stdin:
            batch = json.loads(line)
            tally = session.run(random.Random(batch["seed"]), batch["count"])
            gc.collect()
            if tally.residentMiB == 0:
                tally.residentMiB = psutil.Process().memory_info().rss / 2**20
            print(tally.to_json(), flush=True)
    finally:
        session.close()


if __name__ == "__main__":
    main()
