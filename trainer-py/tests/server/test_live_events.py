"""The lossy copy over ZeroMQ: encrypted, admitted by key, the same bytes; what is lost is re-read over gRPC."""

import random

import zmq
from trainer_under_test import TrainerUnderTest, spec

from bora.trainer.v1 import event_pb2, trainer_pb2


class Subscriber:
    def __init__(self, trainer: TrainerUnderTest, keys: tuple[bytes, bytes]) -> None:
        self.trainer = trainer
        described = trainer.call("Describe")
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self.socket.curve_publickey, self.socket.curve_secretkey = keys
        self.socket.curve_serverkey = described.events_public_key.encode()
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(described.events_endpoint)
        self.socket.subscribe(b"")

    def next(self, milliseconds: int) -> event_pb2.Event | None:
        if not self.socket.poll(milliseconds):
            return None
        run_id, body = self.socket.recv_multipart()
        event = event_pb2.Event.FromString(body)
        assert run_id.decode() == event.run_id
        return event


def test_with_30_percent_of_the_frames_dropped_every_event_still_arrives_once(trainer: TrainerUnderTest) -> None:
    run, keys, chance = spec(steps=40), zmq.curve_keypair(), random.Random(0)
    trainer.start(run, subscriber_key=keys[0])
    subscriber = Subscriber(trainer, keys)
    seen: list[event_pb2.Event] = []
    dropped = live = 0
    while not seen or seen[-1].WhichOneof("body") != "run_done":
        event = subscriber.next(500)
        if event is not None and chance.random() < 0.3:
            dropped += 1
            continue
        if event is not None and event.seq == len(seen) + 1:
            live += 1
            seen.append(event)
        elif event is None or event.seq > len(seen):
            seen += trainer.events(run.run_id, after_seq=len(seen), follow=False)
    subscriber.socket.close()
    assert [event.seq for event in seen] == list(range(1, 64))
    assert seen == trainer.events(run.run_id)
    assert dropped > 3 and live > 3, "the test must have dropped some and seen some"


def test_only_the_admitted_key_hears_anything_and_an_adopter_brings_its_own(trainer: TrainerUnderTest) -> None:
    run, first, adopter = spec(steps=2_000), zmq.curve_keypair(), zmq.curve_keypair()
    trainer.start(run, subscriber_key=first[0])
    stranger = Subscriber(trainer, zmq.curve_keypair())
    early = Subscriber(trainer, adopter)
    known = Subscriber(trainer, first)
    assert known.next(30_000) is not None
    assert stranger.next(500) is None and early.next(100) is None
    early.socket.close()
    answer = trainer.call("RenewLease", run_id=run.run_id, attempt=1, lease_ms=60_000, subscriber_key=adopter[0])
    assert answer.state == trainer_pb2.RUN_STATE_TRAINING
    adopted = Subscriber(trainer, adopter)
    assert adopted.next(30_000) is not None
    for subscriber in (stranger, known, adopted):
        subscriber.socket.close()


def test_frames_on_the_wire_are_encrypted(trainer: TrainerUnderTest) -> None:
    run = spec(steps=200)
    trainer.start(run, subscriber_key=zmq.curve_keypair()[0])
    plain: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    plain.setsockopt(zmq.LINGER, 0)
    plain.connect(trainer.call("Describe").events_endpoint)
    plain.subscribe(b"")
    assert not plain.poll(700), "a subscriber without CURVE heard an event"
    plain.close()
