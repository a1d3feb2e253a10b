"""Whole runs with the frozen-prefix cache and without."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from prefix_caches import (
    folder,
    top_layer,
)
from tiny_runs import Tiny, bodies, numbers


@pytest.fixture(scope="module")
def with_and_without(tiny: Tiny, tmp_path_factory) -> tuple[list, list, Path]:
    path = tmp_path_factory.mktemp("both")
    spec = top_layer(tiny.spec([0.0, 1e2, float("inf")], seeds=[0, 1]))
    return (
        list(tiny.train(spec, path / "with", states=folder(path))),
        list(tiny.train(spec, path / "without")),
        path,
    )


def test_a_run_yields_the_same_numbers_with_and_without(with_and_without) -> None:
    cached, plain, _ = with_and_without
    kinds = [event.WhichOneof("body") for event in cached if not event.HasField("steps_done")]
    assert kinds[:2] == ["run_started", "prefix_cache_filled"] and kinds.count("prefix_cache_filled") == 1
    started, other = cached[0].run_started, plain[0].run_started
    assert started.execution.prefix_cache and "hidden states below layer 1 are kept" in started.prefix_cache
    assert not other.execution.prefix_cache and other.prefix_cache == ""
    for found, expected in zip(numbers([e for e in cached]), numbers(plain), strict=True):
        assert found.WhichOneof("body") == expected.WhichOneof("body") and found.trial_id == expected.trial_id
        if found.HasField("evaluated"):
            for task, wanted in zip(found.evaluated.tasks, expected.evaluated.tasks, strict=True):
                assert (task.task, task.tokens) == (wanted.task, wanted.tokens)
                assert task.nats == pytest.approx(wanted.nats, rel=1e-5)
        if found.HasField("trial_done"):
            assert found.trial_done.best_step == expected.trial_done.best_step


def test_cold_warm_and_resumed_runs_have_the_same_bits(tiny: Tiny, with_and_without, tmp_path: Path) -> None:
    cached, _, path = with_and_without
    spec = top_layer(tiny.spec([0.0, 1e2, float("inf")], seeds=[0, 1]))
    assert numbers(list(tiny.train(spec, tmp_path / "warm", states=folder(path)))) == numbers(cached)
    first: list = []
    for event in tiny.train(spec, tmp_path / "killed", states=folder(tmp_path)):
        first.append(event)
        if event.HasField("checkpoint_saved"):
            break
    step = first[-1].checkpoint_saved.step
    again = list(tiny.train(spec, tmp_path / "killed", resume_step=step, states=folder(tmp_path)))
    wanted = [event for event in numbers(cached) if not event.HasField("checkpoint_saved")]
    told = {e.SerializeToString() for e in numbers([*first, *again]) if not e.HasField("checkpoint_saved")}
    assert told == {event.SerializeToString() for event in wanted}


def test_an_attempt_does_without_where_the_first_one_did(tiny: Tiny, with_and_without, tmp_path: Path) -> None:
    _, plain, path = with_and_without
    spec = top_layer(tiny.spec([0.0, 1e2, float("inf")], seeds=[0, 1]))
    assert spec.execution is not None
    spec = dataclasses.replace(spec, execution=dataclasses.replace(spec.execution, prefix_cache=False))
    events = list(tiny.train(spec, tmp_path, states=folder(path)))
    assert events[0].run_started.prefix_cache == "hidden states are not kept: this run began without"
    assert numbers(events) == numbers(plain)


def test_a_run_that_may_not_keep_says_so_and_trains(tiny: Tiny, tmp_path: Path) -> None:
    events = list(tiny.train(top_layer(tiny.spec([0.0])), tmp_path, states=folder(tmp_path, limit=0)))
    assert "are not kept: they need" in events[0].run_started.prefix_cache
    assert not events[0].run_started.execution.prefix_cache
    assert events[-1].HasField("run_done") and not bodies(events, "prefix_cache_filled")


def test_stopped_while_it_fills_a_run_is_drained(tiny: Tiny, tmp_path: Path) -> None:
    events = list(tiny.train(top_layer(tiny.spec([0.0])), tmp_path, stop=lambda: True, states=folder(tmp_path)))
    assert [event.WhichOneof("body") for event in events] == ["run_started", "run_failed"]
    assert events[-1].run_failed.drained
