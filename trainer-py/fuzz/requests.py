"""Requests of every call: what an orchestrator sends, with a few fields made hostile, or hostile all over."""

import uuid
from random import Random

from google.protobuf.message import Message
from trainer_under_test import spec

from bora.trainer.v1 import run_pb2, trainer_pb2
from fuzz import hostile

RUN_IDS = tuple(str(uuid.UUID(int=number)) for number in range(3))
# How often each is called, in parts of a hundred: those that start a child cost a process each.
WEIGHTS = {
    **{"Describe": 8, "Inspect": 2, "Start": 26, "RenewLease": 18, "Cancel": 12},
    **{"ReadEvents": 16, "ReadArtifact": 14, "Generate": 2, "Merge": 2},
}
METHODS = tuple(WEIGHTS)


def _run(rng: Random) -> run_pb2.RunSpec:
    run = spec(steps=rng.randint(1, 8), way="tiny", run_id=rng.choice(RUN_IDS))
    if rng.random() < 0.3:
        run.evaluate.adapters.add(path="adapter")
    if rng.random() < 0.3:
        run.prior.mean.path = "adapter"
    if rng.random() < 0.5:
        columns = run_pb2.Columns(task="task", text="text")
        table = run_pb2.TableSource(format=run_pb2.TABLE_FORMAT_CSV, path="data.csv", columns=columns)
        run.data.table.CopyFrom(table)
    return run


def whole(rng: Random, method: str) -> Message:
    """As a well-meant caller sends it."""
    run, run_id, attempt = _run(rng), rng.choice(RUN_IDS), rng.randint(1, 4)
    match method:
        case "Describe":
            return trainer_pb2.DescribeRequest()
        case "Inspect":
            inspected = {"model": run.model, "data": run.data, "adapter": run.adapter, "adapter_folders": ["adapter"]}
            return trainer_pb2.InspectRequest(**inspected)
        case "Start":
            return trainer_pb2.StartRequest(spec=run, attempt=attempt, first_seq=rng.randint(1, 5), lease_ms=5_000)
        case "RenewLease":
            return trainer_pb2.RenewLeaseRequest(run_id=run_id, attempt=attempt, lease_ms=5_000, stored_seq=1)
        case "Cancel":
            return trainer_pb2.CancelRequest(run_id=run_id, attempt=attempt, mode=trainer_pb2.CANCEL_MODE_KILL)
        case "ReadEvents":
            return trainer_pb2.ReadEventsRequest(run_id=run_id, after_seq=rng.randint(0, 9), follow=rng.random() < 0.1)
        case "ReadArtifact":
            path = rng.choice(("trials/trial-0/manifest.json", "checkpoints/step-000002/state.json", "secret.txt"))
            return trainer_pb2.ReadArtifactRequest(run_id=run_id, path=path)
        case "Generate":
            adapters = [trainer_pb2.AdapterSource(base=True), trainer_pb2.AdapterSource(folder="adapter")]
            drawn = {"max_tokens": 2, "temperature": 1.0, "top_p": 0.9, "prompt": "to be"}
            return trainer_pb2.GenerateRequest(model=run.model, adapters=adapters, **drawn)
        case _:
            return trainer_pb2.MergeRequest(model=run.model, folder="adapter", dtype=run_pb2.DTYPE_AUTO)


def request(rng: Random, method: str) -> Message:
    """Whole, with some fields made hostile, or nothing but hostile fields."""
    kind = rng.random()
    if kind < 0.1:
        return whole(rng, method)
    if kind < 0.85:
        return hostile.mutated(rng, whole(rng, method))
    message = getattr(trainer_pb2, f"{method}Request")()
    hostile.fill(rng, message, rng.choice((0.3, 0.9)))
    return message


def method(rng: Random) -> str:
    return rng.choices(METHODS, weights=list(WEIGHTS.values()))[0]
