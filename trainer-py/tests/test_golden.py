"""The golden files of the contract read the same in both languages; this is Python's half."""

import math

import pytest
import write_golden
from google.protobuf import json_format

from bora.trainer.v1 import event_pb2, run_pb2
from bora_trainer.spec import RunSpec

NAMES = sorted(path.stem for path in write_golden.GOLDEN.glob("*.binpb"))


def read(name: str) -> event_pb2.Event | run_pb2.RunSpec:
    message = event_pb2.Event() if name.startswith("event_") else run_pb2.RunSpec()
    message.ParseFromString((write_golden.GOLDEN / f"{name}.binpb").read_bytes())
    return message


def test_there_is_one_for_every_body_and_the_spec() -> None:
    bodies = [field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields]
    assert sorted(["run_spec", *(f"event_{body}" for body in bodies)]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_bytes_and_json_say_the_same_and_are_current(name: str) -> None:
    message = read(name)
    text = (write_golden.GOLDEN / f"{name}.json").read_text(encoding="utf-8")
    assert json_format.Parse(text, type(message)()) == message
    assert message == dict(write_golden.messages())[name]
    assert (write_golden.GOLDEN / f"{name}.binpb").read_bytes() == message.SerializeToString(deterministic=True)


def test_the_spec_keeps_infinity_and_every_field_is_set() -> None:
    message = read("run_spec")
    assert isinstance(message, run_pb2.RunSpec)
    spec = RunSpec.from_proto(message)
    assert [fit.tau for fit in spec.fits] == [0.0, 1e-3, 1e4, math.inf]
    for part in (message, message.train, message.adapter, message.prior, message.data, message.data.split):
        unset = [f.name for f in part.DESCRIPTOR.fields if f.containing_oneof is None]
        assert not [name for name in unset if name not in {f.name for f, _ in part.ListFields()}]
