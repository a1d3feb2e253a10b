"""The benchmark's own logic: what it measures, what it refuses, what it says, and that its gate can fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import __main__ as program
from bench import figure, gate, render, table, timing
from bench.cells import MOST_TOKENS, Cell, large_cells, quick_cells, small_cells
from bench.contestants import best_batch
from bench.contestants.batched import SliceLoop
from bench.contestants.ours import Ours
from bench.results import RIVALS, Results, ResumeRefused, lost_to, measured
from bench.runner import CONTESTANTS, run_cell


def test_the_grid_leaves_out_exactly_what_has_too_many_tokens_a_step() -> None:
    cells = [*small_cells(), *large_cells(), *quick_cells()]
    assert len(list(small_cells())) == 2 * 4 * 2 * 4 * 3 and len(list(large_cells())) == 4
    assert len({cell.name for cell in small_cells()}) == 192
    for cell in cells:
        assert bool(cell.skipped) == (cell.tasks * cell.fits * cell.tokens > MOST_TOKENS), cell.name
    left_out = {(cell.tasks, cell.fits, cell.tokens) for cell in cells if cell.skipped}
    assert left_out == {(100, 1, 328), (25, 6, 328), (100, 6, 64), (100, 6, 128), (100, 6, 328)}
    [reason] = {cell.skipped for cell in cells if cell.name == "hidden-128 D100 K1 T328 r16"}
    assert reason == "32800 tokens a step, more than 32768"


def test_a_lone_fit_lies_between_the_limits_and_six_have_both() -> None:
    one, six = (Cell(gate.TINY, 5, fits, 128, 4) for fits in (1, 6))
    assert one.taus == (1e3,) and six.taus[0] == 0.0 and six.taus[-1] == float("inf") and len(six.taus) == 6
    assert (six.rows, six.tokens_per_step, six.documents) == (30, 3840, 2)


def test_a_skipped_cell_is_in_the_file_with_its_reason_and_nothing_else() -> None:
    found = run_cell(Cell(gate.TINY, 100, 6, 328, 4), "float32", "cpu", timing.QUICK)
    assert found["skipped"] == "196800 tokens a step, more than 32768" and "contestants" not in found
    assert measured([found]) == [] and table.line(found).endswith(f"skipped, {found['skipped']}")


def test_a_measured_cell_has_every_contestant() -> None:
    cell = Cell(gate.TINY, tasks=2, fits=2, tokens=32, rank=4)
    found = run_cell(cell, "float32", "cpu", timing.Rule(repeats=2, rounds=2, slow_rounds=1, slow_seconds=9, warmups=1))
    assert found["skipped"] == "" and [*found["contestants"]] == [one.name for one in CONTESTANTS]  # pyright: ignore[reportAttributeAccessIssue, reportFunctionMemberAccess]
    assert {*RIVALS, "ours", "ours, best batch", "floor"} == found["contestants"].keys()
    for one in found["contestants"].values():
        assert 0 < one["seconds"]["p10"] <= one["seconds"]["median"] <= one["seconds"]["p90"]
        assert one["seconds"]["samples"] == 4 and len(one["seconds"]["repeats"]) == 2
        assert one["tokens_per_second"] == pytest.approx(cell.tokens_per_step / one["seconds"]["median"])
    assert table.row(found)[0] == "gate D2 K2 T32 r4"


def made_up(tasks: int = 5, **seconds: float) -> dict[str, Any]:
    """A measured cell in which everyone takes 2 s a step, the floor 1.8, unless it is said otherwise."""
    every = {"floor": 1.8, "ours": 2.0, **dict.fromkeys(RIVALS, 2.0)} | {
        k.replace("_", "-"): v for k, v in seconds.items()
    }
    contestants = {
        name: {"seconds": {"median": value}, "tokens_per_second": 640 / value, "mfu": 0.5, "note": ""}
        for name, value in every.items()
    }
    return {"name": f"cell D{tasks}", "shape": "hidden-128", "tasks": tasks, "skipped": "", "at_most": 0.97,
            "contestants": contestants}  # fmt: skip


def test_a_lost_cell_is_named_with_whom_it_lost_to() -> None:
    lost = made_up(slice_loop=1.9, published=1.0)
    assert lost_to(lost) == ["published", "slice-loop"] and lost_to(made_up()) == []
    assert table.line(lost).endswith("<-- slower than published, slice-loop")
    assert table.row(lost)[-1] == "slower than published, slice-loop" and table.row(made_up())[-1] == ""
    measured_words, rival_words, floor_words = table.summary([lost, made_up(25), {"skipped": "too large"}])
    assert measured_words == "2 cells measured, 2 of them with rivals, 1 skipped."
    assert rival_words == "Slower than a rival: 1 of 2 (cell D5)."
    assert floor_words.endswith(": 0 of 2.")


def test_a_rival_that_chose_its_batch_is_told_with_ours_at_its_own() -> None:
    lost = made_up(peft_best_batch=1.5)
    assert table.marks(lost) == "slower than peft-best-batch"
    lost["contestants"]["ours, best batch"] = {"seconds": {"median": 1.2}, "tokens_per_second": 533, "mfu": 0.5}
    assert table.marks(lost) == "slower than peft-best-batch (at its own best batch ours is 1.25 times as fast)"


def test_the_best_batch_is_the_one_with_most_steps_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []
    monkeypatch.setattr(best_batch.time, "perf_counter", lambda: clock[0])
    costs = {1: 1.0, 2: 1.5, 4: 2.5, 8: 6.0}  # steps a second: 1, 1.33, 1.6, 1.33
    assert best_batch.best_multiple(lambda m: Clocked(f"{m}", costs[m], 1.0, clock, order).step, "cpu") == 4
    assert order == [name for name in ("1", "2", "4", "8") for _ in range(3)]
    assert best_batch.best_multiple(lambda m: Clocked(f"{m}", costs[m], 1.0, clock, order).step, "cpu", most=3) == 2
    assert best_batch.best_multiple(lambda m: Clocked("", 0.0, 1.0, clock, order).step, "cpu", most=1) == 1


def without_rivals(tasks: int) -> dict[str, Any]:
    cell = made_up(tasks)
    return cell | {"contestants": {name: cell["contestants"][name] for name in ("floor", "ours")}}


def test_cells_without_rivals_are_told_apart_and_drawn_without() -> None:
    words = table.summary([made_up(), without_rivals(25)])
    assert words[0] == "2 cells measured, 1 of them with rivals, 0 skipped."
    assert words[1] == "Slower than a rival: 0 of 1."
    alone, beside = figure.svg([without_rivals(25)]), figure.svg([made_up(25), without_rivals(100)])
    assert alone.count("<polyline") == 1 and beside.count("<polyline") == 1 + len(RIVALS)
    assert "D = 25<" in alone and "D = 25<" in beside and "D = 100<" not in beside
    assert "grouped-gemm<" not in alone and "grouped-gemm<" in beside
    other = without_rivals(100) | {"shape": "hidden-256"}
    assert "D = 100<" in figure.svg([made_up(25), other])  # a shape of its own is drawn with what it has


@pytest.mark.parametrize(
    ("only", "count"), [("hidden-128", 96), ("hidden-128*r16", 32), ("D5 K1*r4", 8), ("r16 D5", 0)]
)
def test_cells_are_chosen_by_parts_of_their_names(only: str, count: int) -> None:
    assert len(program.chosen_cells(program.parse(["--cells", "small", "--only", only]))) == count


def test_rivals_are_asked_for_by_the_tokens_of_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert [program.parse(["--rivals", words]).rivals for words in ("all", "none", "640")] == [float("inf"), 0, 640]
    assert program.parse([]).rivals == float("inf")
    with pytest.raises(SystemExit):
        program.parse(["--rivals", "few"])
    assert "'few' is neither all nor none nor a number of tokens" in capsys.readouterr().err


def test_a_cell_below_its_share_of_the_floor_is_named_from_five_tasks_on() -> None:
    assert table.marks(made_up(5, floor=1.69)) == "below 85% of the floor"
    assert table.marks(made_up(5, floor=1.71)) == "" and table.marks(made_up(1, floor=1.0)) == ""
    large = made_up(5, floor=1.75) | {"shape": "smollm2-135m"}
    assert table.marks(large) == "below 90% of the floor"
    assert table.summary([made_up(5, floor=1.0), made_up(1)])[2].endswith(": 1 of 1 (cell D5).")


def test_the_table_has_a_line_a_cell_and_speed_ups_of_ours() -> None:
    head, first, second, *_ = table.table([made_up(5, steelman=5.0), made_up(25)]).splitlines()
    assert head.split() == ["cell", "tokens/s", "of", "floor", "at", "most", "MFU", *RIVALS]
    assert first.split() == ["cell", "D5", "320", "90%", "97%", "50%", "1.00", "2.50", "1.00", "1.00", "1.00", "1.00"]
    assert second.startswith("cell D25")


HEADER = {"machine": {"processor": "A"}, "versions": {"torch": "1"}, "git": {"commit": "a", "changed": False},
          "dtype": "float32", "threads": 2, "command": "python -m bench"}  # fmt: skip


def run(cells: list[dict[str, Any]]) -> Results:
    machine = {"processor": "A", "flags": ["avx2"], "memory_gib": 8, "gpu": None}
    versions = {"torch": "1", "transformers": "2", "peft": "3"}
    return Results(Results.begin(**HEADER | {"machine": machine, "versions": versions, "gate": []}).header, cells)


def test_a_run_goes_on_with_the_file_of_the_same_commit_and_machine(tmp_path: Path) -> None:
    first = Results.begin(**HEADER)
    first.cells = [made_up(5), made_up(25)]
    first.write(tmp_path / "deep" / "file.json")
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["file.json"]
    again = Results.begin(**HEADER | {"command": "python -m bench --resume"})
    again.resume(tmp_path / "deep" / "file.json")
    assert again.has("cell D5", rivals=True) and not again.has("cell D1", rivals=False) and again.cells == first.cells


def test_a_cell_without_rivals_is_measured_again_where_they_are_asked_for() -> None:
    found = run(cells=[without_rivals(5), made_up(25), {"name": "large", "skipped": "too large"}])
    assert found.has("cell D5", rivals=False) and not found.has("cell D5", rivals=True)
    assert found.has("large", rivals=True)
    found.put(made_up(5))
    assert found.has("cell D5", rivals=True) and [cell["name"] for cell in found.cells] == [
        "cell D5",
        "cell D25",
        "large",
    ]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"git": {"commit": "b", "changed": False}}, "git"),
        ({"git": {"commit": "a", "changed": True}}, "git"),
        ({"machine": {"processor": "B"}}, "machine"),
        ({"versions": {"torch": "2"}}, "versions"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"threads": 1}, "threads"),
    ],
)
def test_a_run_refuses_the_file_of_another_commit_or_machine(changed: dict, word: str, tmp_path: Path) -> None:
    first = Results.begin(**HEADER)
    first.cells = [made_up()]
    first.write(tmp_path / "file.json")
    other = Results.begin(**HEADER | changed)
    with pytest.raises(ResumeRefused, match=f"{word} .* there, .* here"):
        other.resume(tmp_path / "file.json")
    assert other.cells == []


def test_percentiles_of_a_timing() -> None:
    found = timing.Timing.of([[6.0, 1.0, 11.0, 2.0], [3.0, 4.0, 5.0, 7.0, 8.0, 9.0, 10.0]])
    assert (found.median, found.p10, found.p90, found.samples) == (6.0, 2.0, 10.0, 11)
    assert found.repeats == (4.0, 7.0)
    assert timing.Timing.of([[3.0]]) == timing.Timing(3.0, 3.0, 3.0, 1, (3.0,))


def test_a_slow_step_is_sampled_less_often() -> None:
    rule = timing.Rule(repeats=3, rounds=10, slow_rounds=4, slow_seconds=0.5, warmups=2)
    assert (rule.samples(0.5), rule.samples(0.51)) == (10, 4)
    assert str(rule) == "3 x 10 steps after 2, 3 x 4 of what takes over 0.5 s a step"
    assert str(timing.LARGE) == "1 x 5 steps after 1"


def test_on_a_card_a_sample_is_as_many_steps_as_fill_it_and_little_of_what_is_slow() -> None:
    assert [timing.CARD.steps(seconds) for seconds in (0.01, 0.035, 0.09, 2.0)] == [10, 10, 4, 1]
    assert [timing.SMALL.steps(seconds) for seconds in (0.0, 0.01)] == [1, 1]
    taken: list[int] = []
    slow = Clocked("slow", 1.0, 1.0, clock := [0.0], [])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timing.time, "perf_counter", lambda: clock[0])
        patched.setattr(timing.torch.cuda, "synchronize", lambda: taken.append(1))
        timing.measure([slow], timing.CARD, "cuda")
    assert len(slow.order) == 2 + 3 * 1 + 2, "two at first, one sample a repeat, one step before each but the first"
    assert str(timing.CARD) == ("3 x 5 samples of 0.35 s after 5 steps, 3 x 1 of what takes over 0.3 s a step")


@dataclass(slots=True)
class Clocked:
    """A contestant whose step takes `seconds` of a clock that only steps move."""

    name: str
    seconds: float
    share: float
    clock: list[float]
    order: list[str]
    note: str = ""

    def step(self) -> None:
        self.clock[0] += self.seconds
        self.order.append(self.name)


def test_samples_take_turns_and_count_as_whole_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    quick, slow = Clocked("quick", 1.0, 0.25, clock, order), Clocked("slow", 8.0, 1.0, clock, order)
    rule = timing.Rule(repeats=2, rounds=3, slow_rounds=1, slow_seconds=5.0, warmups=1)
    found = timing.measure([quick, slow], rule, "cpu")
    assert found["quick"] == timing.Timing(4.0, 4.0, 4.0, 6, (4.0, 4.0))  # a quarter of the step in 1 s
    assert found["slow"] == timing.Timing(8.0, 8.0, 8.0, 2, (8.0, 8.0))
    first, second = order[:6], order[6:]
    assert first == ["quick", "slow", "quick", "slow", "quick", "quick"]
    assert second == ["quick", "slow", "slow", "quick", "quick", "quick"]  # the other one begins


@pytest.fixture(scope="module")
def passed() -> list[gate.Check]:
    return list(gate.checks(torch.float32))


def test_the_gate_passes_for_the_real_contestants(passed: list[gate.Check]) -> None:
    assert [check.name for check in passed if not check.passed] == []
    assert {check.name.partition(":")[0] for check in passed} == {"ours", *RIVALS}
    assert len(passed) == 5 + 2 * len(RIVALS)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trajectories of one step: what is looked at here fails before or after them."""
    monkeypatch.setattr(gate, "STEPS", 1)


class WrongGradient(SliceLoop):
    """One row's gradient is a thousandth too long: Adam's first step does not show it."""

    def gradients(self) -> Tensor:
        gradient_GP = super().gradients()
        gradient_GP[1] *= 1.001
        return gradient_GP


class WrongStep(SliceLoop):
    """Its gradients are right, and it takes two steps for one."""

    def step(self) -> None:
        super().step()
        super().step()


@pytest.mark.parametrize(
    ("maker", "failed"),
    [(WrongGradient, "wrong: gradients, ours"), (WrongStep, "wrong: one step, Adam on our gradients")],
)
def test_the_gate_fails_for_a_rival_that_computes_something_else(maker: Any, failed: str, short: None) -> None:
    checks = list(gate.checks(torch.float32, rivals={"wrong": maker}))
    assert [check.name for check in checks if not check.passed] == [failed]


def _scaled(gradient_GP: Tensor) -> None:
    gradient_GP[2] *= 1.001


def _leaking(gradient_GP: Tensor) -> None:
    gradient_GP[0, 0] += 1e-7 * gradient_GP[-1].abs().max()


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (_scaled, {"ours: gradients, torch.func in float64", "ours: gradients, a PEFT model for each row"}),
        (_leaking, {"ours: gradient of a row for another row's nats"}),
    ],
)
def test_the_gate_fails_when_ours_is_wrong(
    change: Callable[[Tensor], None], failed: set[str], short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(Ours):
        def gradients(self, weights: list[float] | None = None) -> Tensor:
            gradient_GP = super().gradients(weights)
            change(gradient_GP)
            return gradient_GP

    monkeypatch.setattr(gate, "Ours", Wrong)
    assert {check.name for check in gate.checks(torch.float32, rivals={}) if not check.passed} == failed


def test_an_error_that_is_no_number_does_not_pass() -> None:
    assert not gate.Check("x", float("nan"), 1.0).passed and not gate.Check("x", 1.1, 1.0).passed
    assert gate.Check("x", 1.0, 1.0).passed


def test_nothing_is_timed_after_the_gate_has_failed(
    short: None, threads: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gate, "RIVALS", {"slice-loop": WrongGradient})
    file = tmp_path / "file.json"
    assert program.main(["--quick", "--dtype", "float32", "--json", str(file)]) == 1
    output = capsys.readouterr()
    assert "FAIL slice-loop: gradients, ours" in output.out and "nothing is timed" in output.err
    assert not file.exists() and "tokens/s" not in output.out


def test_bad_usage_ends_with_two(threads: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--only", "no such cell"]) == 2
    assert "no cell's name has 'no such cell' in it" in capsys.readouterr().err
    for words in (["--resume"], ["--quick", "--cells", "large"]):
        with pytest.raises(SystemExit) as ended:
            program.main(words)
        assert ended.value.code == 2


def test_a_section_replaces_what_lies_between_its_markers() -> None:
    begin, end = between = render.markers("bench")
    page = f"before\n{begin}\nold\n{end}\nafter\n"
    once = render.insert(page, "new\n", between)
    assert once == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"
    assert render.insert(once, "new\n", between) == once
    for broken in ("", begin, f"{end}{begin}", page + page):
        with pytest.raises(ValueError, match="once each"):
            render.insert(broken, "new\n", between)


def test_two_machines_have_a_section_each(tmp_path: Path) -> None:
    (one, end), (other, other_end) = render.markers("bench"), render.markers("bench-float32")
    page = tmp_path / "performance.md"
    page.write_text(f"{one}\n{end}\n{other}\nold\n{other_end}\n", "utf-8")
    run(cells=[made_up()]).write(tmp_path / "file.json")
    assert render.main([str(tmp_path / "file.json"), "--docs", str(tmp_path), "--section", "bench-float32"]) == 0
    words = page.read_text("utf-8")
    assert words.startswith(f"{one}\n{end}\n{other}\n\n20") and "old" not in words
    assert "(figures/bench-float32-share-of-floor.svg)" in words
    assert (tmp_path / "figures" / "bench-float32-share-of-floor.svg").exists()


def test_the_markdown_names_the_lost_and_counts_the_skipped() -> None:
    skipped = {"name": "large", "skipped": "40000 tokens a step, more than 32768"}
    words = render.markdown(run(cells=[made_up(published=1.0), copy.deepcopy(skipped), skipped]))
    assert "Slower than a rival: 1 of 1 (cell D5)." in words and "slower than published |" in words
    assert "2 cells are skipped: more than 32768 tokens a step." in words
