"""A run that is stopped, or killed, and resumed gives bit for bit what an undisturbed one gives."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import Tiny, bodies, numbers

from bora.trainer.v1.event_pb2 import Event
from bora_trainer.errors import TrainerError

OPTIONS = {"max_steps": 15, "patience": 2, "checkpoint_every": 6, "learning_rate": 5e-2}
TAUS = (0.0, 1e2, math.inf)


def spec(tiny: Tiny, **options):
    return tiny.spec(TAUS, **(OPTIONS | options))


def files(folder: Path) -> dict[str, str]:
    """sha256 of all that is left for good: documents, adapters, manifests, and the checkpoints."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def results(folder: Path) -> dict[str, str]:
    return {path: digest for path, digest in files(folder).items() if not path.startswith("checkpoints")}


def after(count: int) -> Callable[[], bool]:
    """Asks to stop from the `count`-th question on."""
    asked = itertools.count(1)
    return lambda: next(asked) >= count


@pytest.fixture(scope="module")
def undisturbed(tiny: Tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    questions = itertools.count()
    events = list(tiny.train(spec(tiny), folder, stop=lambda: next(questions) < 0))
    ended = {done.steps for done in bodies(events, "trial_done")}
    assert len(ended) > 1, "one fit has to end before another, so that a pack that has shrunk is resumed too"
    return events, folder, next(questions)


def resume_until_done(tiny: Tiny, folder: Path, events: list[Event], stop: Callable[[], bool]) -> list[list[Event]]:
    """Attempts until the run is done; only the first may be stopped. `events` is what the first attempt told."""
    attempts = [events]
    while attempts[-1][-1].WhichOneof("body") != "run_done":
        saved = [checkpoint.step for attempt in attempts for checkpoint in bodies(attempt, "checkpoint_saved")]
        attempts.append(list(tiny.train(spec(tiny), folder, resume_step=max(saved, default=0), stop=stop)))
        assert len(attempts) < 4
    return attempts


@pytest.mark.parametrize("part", [0.01, 0.12, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])
def test_stopped_and_resumed_equals_undisturbed(tiny, undisturbed, tmp_path, part):
    """Wherever it is stopped: in the base model's evaluation, a step, a validation or the last evaluation of a fit."""
    expected, folder, questions = undisturbed
    first = list(tiny.train(spec(tiny), tmp_path, stop=after(max(1, round(part * questions)))))
    failed = first[-1].run_failed
    assert failed.drained and failed.failure.code == "drained"
    attempts = resume_until_done(tiny, tmp_path, first, lambda: False)
    assert results(tmp_path) == results(folder)
    told = [event for attempt in attempts for event in numbers(attempt)]
    own = {event.SerializeToString() for event in told if event.WhichOneof("body") != "checkpoint_saved"}
    wanted = {
        event.SerializeToString() for event in numbers(expected) if event.WhichOneof("body") != "checkpoint_saved"
    }
    assert own == wanted


@pytest.mark.parametrize("kind", ["checkpoint_saved", "trial_done", "evaluated", "steps_done"])
@pytest.mark.parametrize("nth", [1, -1])
def test_killed_and_resumed_equals_undisturbed(tiny, undisturbed, tmp_path, kind, nth):
    """No drain: the process is gone after an event; what came after the last checkpoint happens again."""
    expected, folder, _ = undisturbed
    place = [i for i, event in enumerate(expected) if event.WhichOneof("body") == kind][nth]
    running = tiny.train(spec(tiny), tmp_path)
    if kind == "steps_done":  # their number depends on the clock
        first = list(itertools.takewhile(lambda event: event.steps_done.step < (4 if nth == 1 else 14), running))
    else:
        seen = [0]
        wanted = sum(event.WhichOneof("body") == kind for event in expected[: place + 1])

        def before(event: Event) -> bool:
            seen[0] += event.WhichOneof("body") == kind
            return seen[0] < wanted

        first = list(itertools.takewhile(before, running))
    running.close()  # pyright: ignore[reportAttributeAccessIssue]
    resume_until_done(tiny, tmp_path, first, lambda: False)
    assert files(tmp_path) == files(folder)


def test_a_run_that_is_stopped_in_every_attempt_still_arrives(tiny, undisturbed, tmp_path):
    _, folder, _ = undisturbed
    step, attempts = 0, 0
    while True:
        events = list(tiny.train(spec(tiny), tmp_path, resume_step=step, stop=after(25)))
        attempts += 1
        assert bodies(events, "run_started")[0].step == step
        if events[-1].WhichOneof("body") == "run_done":
            break
        step = max([saved.step for saved in bodies(events, "checkpoint_saved")], default=step)
        assert attempts < 20
    assert attempts > 2
    assert results(tmp_path) == results(folder)


def test_a_damaged_checkpoint_is_passed_over_and_the_one_before_is_used(tiny, undisturbed, tmp_path, caplog):
    _, folder, _ = undisturbed
    running = tiny.train(spec(tiny), tmp_path)
    list(itertools.takewhile(lambda event: event.checkpoint_saved.step < 12, running))
    running.close()  # pyright: ignore[reportAttributeAccessIssue]
    with (tmp_path / "checkpoints/step-000012/state.safetensors").open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\1\2\3")
    events = list(tiny.train(spec(tiny), tmp_path, resume_step=12))
    assert bodies(events, "run_started")[0].step == 6
    assert "checkpoint_corrupt" in caplog.text and "step-000012" in caplog.text
    assert files(tmp_path) == files(folder)


def test_newer_checkpoints_than_the_one_asked_for_are_dropped(tiny, undisturbed, tmp_path):
    _, folder, _ = undisturbed
    running = tiny.train(spec(tiny), tmp_path)
    list(itertools.takewhile(lambda event: event.checkpoint_saved.step < 12, running))
    running.close()  # pyright: ignore[reportAttributeAccessIssue]
    resumed = tiny.train(spec(tiny), tmp_path, resume_step=6)
    assert next(iter(resumed)).run_started.step == 6
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000006"]
    list(resumed)
    assert files(tmp_path) == files(folder)


def test_a_run_resumed_with_fewer_fits_goes_on_with_those(tiny, undisturbed, tmp_path):
    expected, _, _ = undisturbed
    list(itertools.takewhile(lambda event: event.checkpoint_saved.step < 6, tiny.train(spec(tiny), tmp_path)))
    fewer = dataclasses.replace(spec(tiny), fits=spec(tiny).fits[1:])
    events = list(tiny.train(fewer, tmp_path, resume_step=6))
    assert bodies(events, "run_started")[0].rows == 6
    for fit in fewer.fits:
        mine, theirs = (bodies(found, "trial_done", fit.trial_id)[0] for found in (events, expected))
        assert mine.validation_nats_per_token == pytest.approx(theirs.validation_nats_per_token, rel=1e-5)


def test_a_run_is_not_resumed_with_other_data_or_other_fits(tiny, tmp_path):
    list(itertools.takewhile(lambda event: event.checkpoint_saved.step < 6, tiny.train(spec(tiny), tmp_path)))
    from bora_trainer.train import train

    other = dataclasses.replace(tiny.dataset(), hash="1" * 64)
    with pytest.raises(TrainerError, match="data changed since step 6"):
        list(train(spec(tiny), tiny.loaded(), other, tmp_path, 6))
    more = dataclasses.replace(spec(tiny), fits=tiny.spec([*TAUS, 5.0]).fits)
    with pytest.raises(TrainerError, match="1 fits are not part of the run, first tau5-seed0"):
        list(tiny.train(more, tmp_path, resume_step=6))
