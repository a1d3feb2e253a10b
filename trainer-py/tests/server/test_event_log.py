"""The event file: numbering, one fsync a group, torn and damaged tails, limits."""

import os
import time
from pathlib import Path

import pytest

from bora.trainer.v1 import event_pb2
from bora_trainer import frames
from bora_trainer.errors import TrainerError
from bora_trainer.event_log import EventLog, read_events
from bora_trainer.leases import Lease

RUN = "6f2c1f0e-8a1f-4a7e-9d55-0a4f6a6f1c11"


def steps(count: int) -> list[event_pb2.Event]:
    return [event_pb2.Event(steps_done=event_pb2.StepsDone(step=step)) for step in range(1, count + 1)]


def open_log(tmp_path: Path, attempt: int = 1, first_seq: int = 1) -> EventLog:
    log = EventLog(tmp_path / "events.bin", RUN)
    log.begin(attempt, first_seq)
    return log


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_tail_torn_at_any_byte_is_found_and_cut_off(tmp_path: Path, cut: int) -> None:
    log = open_log(tmp_path)
    log.append(steps(3))
    log.close()
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    assert [event.seq for event in read_events(log.path, 0)] == [1, 2]
    again = EventLog(log.path, RUN)
    assert (again.last_seq, again.torn_bytes) == (2, len(whole) // 3 - cut)
    again.begin(2, 3)
    assert [event.seq for event in again.append(steps(1))] == [3]
    assert [(event.seq, event.attempt) for event in again.read(0)] == [(1, 1), (2, 1), (3, 2)]


def test_a_damaged_record_ends_what_can_be_trusted(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(steps(3))
    log.close()
    content = bytearray(log.path.read_bytes())
    content[len(content) // 3 + 20] ^= 1
    log.path.write_bytes(content)
    assert EventLog(log.path, RUN).last_seq == 1


def test_a_log_whose_numbers_are_used_up_takes_no_more(tmp_path: Path) -> None:
    log = open_log(tmp_path, first_seq=2**32 - 2)
    log.append(steps(2))
    size = log.path.stat().st_size
    with pytest.raises(TrainerError, match="no number is left after event 4294967295") as refused:
        log.append(steps(1))
    assert (refused.value.code, log.last_seq, log.path.stat().st_size) == ("internal", 2**32 - 1, size)


def test_a_new_attempt_drops_what_the_controller_never_stored(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(steps(5))
    log.close()
    again = open_log(tmp_path, attempt=2, first_seq=4)
    assert again.last_seq == 3
    again.append(steps(1))
    assert [(event.seq, event.attempt) for event in again.read(2)] == [(3, 1), (4, 2)]
    with pytest.raises(TrainerError, match="stale_attempt"):
        again.begin(2, 5)


def test_an_event_above_64_kib_is_refused_and_uses_no_number(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    size = log.path.stat().st_size
    big = event_pb2.Event(run_failed=event_pb2.RunFailed(failure=event_pb2.Failure(message="x" * 65_536)))
    with pytest.raises(TrainerError, match="internal"):
        log.append([*steps(1), big])
    assert log.path.stat().st_size == size
    assert log.append(steps(1))[0].seq == 1


def test_a_full_disk_leaves_whole_records_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path)
    log.append(steps(1))
    size = log.path.stat().st_size

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(TrainerError, match="disk_full"):
        log.append(steps(2))
    monkeypatch.undo()
    assert log.path.stat().st_size == size
    assert [event.seq for event in log.append(steps(1))] == [2]


def test_a_group_of_events_costs_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(descriptor))
    log.append(steps(100))
    assert len(synced) == 1


def test_ten_events_a_second_are_no_burden(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    started = time.monotonic()
    for step in steps(50):
        log.append([step])
    assert time.monotonic() - started < 2.5, "50 durable events, five seconds' worth, took over half their time"


def test_frames_survive_any_cut_and_absurd_lengths_are_refused() -> None:
    data = frames.encode_frame(frames.JOB, b"{}") + frames.encode_frame(frames.EVENT, b"") + b"\x05"
    decoder = frames.FrameDecoder()
    got = [frame for byte in data for frame in decoder.feed(bytes([byte]))]
    assert got == [(frames.JOB, b"{}"), (frames.EVENT, b"")]
    with pytest.raises(TrainerError, match="internal"):
        frames.FrameDecoder().feed(b"\xff\xff\xff\xff\x03")


def test_a_lease_lapses_on_the_monotonic_clock_only() -> None:
    now = [100.0]
    lease = Lease(1_500, clock=lambda: now[0])
    now[0] += 1.4
    assert not lease.lapsed and lease.remaining == pytest.approx(0.1)
    lease.renew()
    now[0] += 1.4
    assert not lease.lapsed
    lease.renew(50)
    now[0] += 0.06
    assert lease.lapsed and lease.remaining == 0.0
