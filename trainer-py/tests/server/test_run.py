"""A run over real gRPC with a real child: begin, follow, resume, take over, refuse, end."""

import json
import signal
from collections.abc import Callable

from trainer_under_test import TrainerUnderTest, alive, bodies, refusal, spec, wait_for

from bora.trainer.v1 import event_pb2, trainer_pb2

ENDED = trainer_pb2.RUN_STATE_ENDED


def test_a_run_tells_all_its_events_in_order_and_once(trainer: TrainerUnderTest) -> None:
    run = spec(steps=4)
    assert trainer.start(run).accepted
    events = trainer.events(run.run_id)
    expected = (
        "run_started steps_done steps_done checkpoint_saved steps_done steps_done checkpoint_saved trial_done run_done"
    )
    assert bodies(events) == expected.split()
    assert [event.seq for event in events] == list(range(1, 10))
    assert {(event.run_id, event.attempt) for event in events} == {(run.run_id, 1)}
    assert trainer.events(run.run_id, after_seq=7) == events[7:]
    assert trainer.call("RenewLease", run_id=run.run_id, attempt=1, lease_ms=1000).last_seq == 9


def test_starting_the_same_attempt_again_changes_nothing(trainer: TrainerUnderTest) -> None:
    run = spec(steps=4)
    trainer.start(run)
    again = trainer.start(run)
    assert not again.accepted
    assert bodies(trainer.events(run.run_id)).count("run_started") == 1
    after_its_end = trainer.start(run)
    assert (after_its_end.accepted, after_its_end.last_seq) == (False, 9)


def test_a_lower_attempt_and_another_run_are_refused(trainer: TrainerUnderTest) -> None:
    run = spec(steps=500)
    trainer.start(run, attempt=2)
    status, message, info = refusal(lambda: trainer.start(run, attempt=1))
    assert (status, info.reason) == ("FAILED_PRECONDITION", "stale_attempt")
    assert "attempt 1" in message and "attempt 2" in message
    status, _, info = refusal(lambda: trainer.start(spec()))
    assert (status, info.reason, info.metadata["domain"]) == ("RESOURCE_EXHAUSTED", "busy", "controller")
    status, _, info = refusal(lambda: trainer.call("RenewLease", run_id=run.run_id, attempt=1, lease_ms=1000))
    assert (status, info.reason) == ("FAILED_PRECONDITION", "stale_attempt")
    status, _, info = refusal(lambda: trainer.call("Inspect"))
    assert (status, info.reason) == ("RESOURCE_EXHAUSTED", "busy")


def test_the_next_attempt_takes_over_once_the_earlier_process_group_is_gone(trainer: TrainerUnderTest) -> None:
    run = spec(steps=500, way="grandchild")
    trainer.start(run)
    trainer.until(run.run_id, "checkpoint_saved")
    first = trainer.child()
    grandchild = int((trainer.run_root / run.run_id / "grandchild").read_text())
    trainer.start(run, attempt=2, first_seq=3)
    assert not alive(first) and not alive(grandchild)
    trainer.until(run.run_id, "run_started", after_seq=2)
    trainer.call("Cancel", run_id=run.run_id, attempt=2, mode=trainer_pb2.CANCEL_MODE_KILL)
    events = trainer.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.attempt for event in events[:3]] == [1, 1, 2]
    assert bodies(events)[2] == "run_started"


def test_a_resumed_attempt_goes_on_from_the_known_checkpoint_and_newer_ones_are_deleted(
    trainer: TrainerUnderTest,
) -> None:
    run = spec(steps=500)
    trainer.start(run)
    seq, step = 0, 0
    while step < 8:
        saved = trainer.until(run.run_id, "checkpoint_saved", seq)
        seq, step = saved.seq, saved.checkpoint_saved.step
    trainer.call("Cancel", run_id=run.run_id, attempt=1, mode=trainer_pb2.CANCEL_MODE_KILL)
    trainer.start(run, attempt=2, first_seq=6, resume_step=4)
    trainer.until(run.run_id, "checkpoint_saved", 5)
    trainer.call("Cancel", run_id=run.run_id, attempt=2, mode=trainer_pb2.CANCEL_MODE_KILL)
    events = trainer.events(run.run_id, after_seq=5)
    assert events[0].run_started.step == 4
    assert [e.steps_done.step for e in events if e.HasField("steps_done")][:2] == [5, 6]
    status, _, info = refusal(lambda: trainer.start(run, attempt=3, first_seq=6, resume_step=5))
    assert (status, info.reason) == ("FAILED_PRECONDITION", "checkpoint_missing")
    trainer.start(run, attempt=4, first_seq=3, resume_step=2)
    trainer.call("Cancel", run_id=run.run_id, attempt=4, mode=trainer_pb2.CANCEL_MODE_KILL)
    assert min(int(f.name[5:]) for f in (trainer.run_root / run.run_id / "checkpoints").iterdir()) == 2


def test_drain_saves_the_last_whole_step(trainer: TrainerUnderTest) -> None:
    run = spec(steps=500, checkpoint_every=100)
    trainer.start(run)
    trainer.until(run.run_id, "steps_done")
    answer = trainer.call("Cancel", run_id=run.run_id, attempt=1, mode=trainer_pb2.CANCEL_MODE_DRAIN)
    assert answer.state == trainer_pb2.RUN_STATE_STOPPING
    events = trainer.events(run.run_id)
    assert bodies(events)[-3:] == ["steps_done", "checkpoint_saved", "run_failed"]
    assert events[-2].checkpoint_saved.step == events[-3].steps_done.step
    assert events[-1].run_failed.drained


def test_kill_ends_the_group_now_and_says_so(trainer: TrainerUnderTest) -> None:
    run = spec(steps=500)
    trainer.start(run)
    trainer.until(run.run_id, "steps_done")
    child = trainer.child()
    answer = trainer.call("Cancel", run_id=run.run_id, attempt=1, mode=trainer_pb2.CANCEL_MODE_KILL)
    assert answer.state == ENDED and not alive(child)
    last = trainer.events(run.run_id)[-1]
    assert (last.run_failed.failure.code, last.run_failed.drained) == ("cancelled", False)


def test_how_a_child_ends_becomes_the_outcome(trainer: TrainerUnderTest) -> None:
    expected = {
        "die": ("child_killed", "DOMAIN_INFRA", "SIGKILL"),
        "raise": ("internal", "DOMAIN_INFRA", "a fault of ours"),
        "memory": ("out_of_memory", "DOMAIN_OOM", "32 GiB asked"),
        "refuse": ("unmatched_module", "DOMAIN_USER", "'wq'"),
        "huge-event": ("internal", "DOMAIN_INFRA", "65536"),
    }
    for way, (code, domain, words) in expected.items():
        run = spec(way=way)
        trainer.start(run)
        events = trainer.events(run.run_id)
        failure = events[-1].run_failed.failure
        assert (failure.code, event_pb2.Domain.Name(failure.domain)) == (code, domain), trainer.log.read_text()
        assert (trainer.run_root / run.run_id / "child.log").exists()
        assert words in failure.message and bodies(events) == ["run_started", "run_failed"]


def test_bad_requests_are_refused_and_leave_nothing(trainer: TrainerUnderTest) -> None:
    wrong_rank = spec()
    wrong_rank.adapter.rank = 0
    requests = [
        lambda: trainer.start(wrong_rank),
        lambda: trainer.start(spec(run_id="../../etc")),
        lambda: trainer.start(spec(), attempt=0),
        lambda: trainer.start(spec(), first_seq=0),
        lambda: trainer.start(spec(), lease_ms=0),
        lambda: trainer.start(spec(), subscriber_key=b"short"),
        lambda: trainer.events("not-a-run"),
    ]
    for request in requests:
        status, _, info = refusal(request)
        assert (status, info.reason) == ("INVALID_ARGUMENT", "spec_invalid")
    assert refusal(lambda: trainer.events(spec().run_id))[2].reason == "run_unknown"
    assert refusal(lambda: trainer.call("Cancel", run_id=spec().run_id, attempt=1, mode=1))[2].reason == "run_unknown"
    assert list(trainer.run_root.iterdir()) == []


def test_inspect_answers_from_a_child_without_grpc_or_with_its_error(launch: Callable[..., TrainerUnderTest]) -> None:
    trainer = launch("--data-root", "/tmp").connect()
    run = spec()
    answer = trainer.call("Inspect", model=run.model, data=run.data)
    assert answer.model_name == "", "modules of grpc in the child"
    run.model.path = "missing"
    status, message, info = refusal(lambda: trainer.call("Inspect", model=run.model, data=run.data))
    assert (status, info.reason, info.metadata["hint"]) == ("INVALID_ARGUMENT", "model_missing", "check model.path")
    for path in ("../etc/passwd", "/etc/passwd", "/tmp/../etc/passwd", "/tmp/a\0b"):
        run.data.table.path = path
        assert refusal(lambda: trainer.call("Inspect", model=run.model, data=run.data))[2].reason == "path_refused", (
            path
        )
    run.model.path = "tiny"
    for path in ("texts.csv", "/tmp/texts.csv"):  # the scripted child answers where it was told to read
        run.data.table.path = path
        assert trainer.call("Inspect", model=run.model, data=run.data).data_hash == "/tmp/texts.csv"


def test_an_abandoned_inspection_ends_its_child(trainer: TrainerUnderTest) -> None:
    run = spec(way="hang")
    request = trainer_pb2.InspectRequest(model=run.model, data=run.data)
    call = trainer.stub.Inspect.future(request, metadata=(("authorization", "Bearer a-token-of-enough-characters"),))
    wait_for(lambda: bool(_children(trainer)), "the child")
    child = trainer.child()
    call.cancel()
    wait_for(lambda: not alive(child), "the end of the child")
    assert trainer.start(spec()).accepted


def test_describe_says_what_it_is_and_holds(trainer: TrainerUnderTest) -> None:
    run = spec(steps=500)
    idle = trainer.call("Describe")
    assert not idle.HasField("held")
    assert (idle.api_version, idle.instance_id) == ("1.0", trainer.ready["instanceId"])
    assert [device.name for device in idle.devices] == ["cpu"]
    assert len(idle.events_public_key) == 40 and idle.events_endpoint.startswith("tcp://127.0.0.1:")
    assert idle.versions["torch"].startswith("2.") and idle.free_memory_bytes > 0
    trainer.start(run)
    held = trainer.call("Describe").held
    assert (held.run_id, held.attempt, held.state) == (run.run_id, 1, trainer_pb2.RUN_STATE_TRAINING)
    assert trainer.call("RenewLease", run_id=run.run_id, attempt=1, lease_ms=1000).memory_bytes > 1 << 20


def test_the_server_never_imports_torch(trainer: TrainerUnderTest) -> None:
    run = spec(steps=2)
    trainer.start(run)
    trainer.events(run.run_id)
    trainer.process.send_signal(signal.SIGTERM)
    assert trainer.process.wait(20) == 0
    assert json.loads((trainer.run_root / "imported.json").read_text()) == []


def _children(trainer: TrainerUnderTest) -> list[int]:
    with open(f"/proc/{trainer.process.pid}/task/{trainer.process.pid}/children") as file:
        return [int(pid) for pid in file.read().split()]
