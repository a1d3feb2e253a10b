"""A compiled pass covers every row once, on torch's own threads or, without them, on one."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from bora_trainer import compiled_passes
from bora_trainer.compiled_passes import Pass, ended, number_at, part_of, tensor_at
from bora_trainer.openmp_team import team


def _mark(given):
    """Counts visits of each row, and tells who came."""
    part, start, stop = part_of(given)
    rows, visits = number_at(given, 0), tensor_at(given, 1, number_at(given, 0), np.int64)
    who = tensor_at(given, 2, rows, np.int64)
    for m in range(start, stop):
        visits[m] += 1
        who[m] = part
    ended(given)


def marked(rows: int, size: int) -> tuple[torch.Tensor, list[int]]:
    """How often each row was visited, and by which thread last."""
    visits, who = torch.zeros(rows, dtype=torch.int64), torch.full((rows,), -1)
    Pass(_mark)(rows, size, rows, visits.data_ptr(), who.data_ptr())
    return visits, who.tolist()


def _elsewhere(program: str, **environment: str) -> tuple[str, str]:
    """What a process of its own writes on standard output and on standard error."""
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    found = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": folders, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return found.stdout, found.stderr


def test_the_runtime_that_torch_uses_is_found() -> None:
    if sys.platform != "linux" or not torch.backends.openmp.is_available():
        pytest.skip("torch's OpenMP runtime is known on Linux")
    assert team() is not None


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 1000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_row_is_visited_once_and_parts_lie_in_order(
    rows: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    visits, who = marked(rows, 1 << 20)
    assert visits.eq(1).all() and who == sorted(who)
    assert set(who) <= set(range(threads))
    if rows == 1000:
        assert set(who) == set(range(threads if team() is not None else 1))


def test_small_work_and_a_torch_without_openmp_take_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert set(marked(10, 10)[1]) == {0}
    monkeypatch.setattr(compiled_passes, "team", lambda: None)
    visits, who = marked(10, 1 << 20)
    assert visits.eq(1).all() and set(who) == {0}


def test_threads_that_the_runtime_does_not_grant_are_not_missed() -> None:
    """OMP_THREAD_LIMIT is read once, at the start: in a process of its own."""
    asked = (
        "import torch; torch.set_num_threads(4); import test_compiled_passes as t; print(*t.marked(1000, 1 << 20)[1])"
    )
    who = _elsewhere(asked, OMP_THREAD_LIMIT="2")[0].split()
    assert len(who) == 1000 and who[0] == "0" and set(who) <= {"0", "1"}


def test_a_process_without_openmp_takes_one_thread() -> None:
    asked = (
        "from bora_trainer import openmp_team; openmp_team.team = lambda: None;"
        "import test_compiled_passes as t; print(*t.marked(1000, 1 << 20)[1])"
    )
    assert _elsewhere(asked)[0].split() == ["0"] * 1000


def test_passes_of_several_threads_of_python_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with ThreadPoolExecutor(4) as pool:
        for visits, who in pool.map(lambda _: marked(5000, 1 << 20), range(40)):
            assert visits.eq(1).all() and who == sorted(who)


def _fail_late(given):
    part, _, __ = part_of(given)
    if part == 0:
        raise ValueError("numba prints this and goes on")
    ended(given)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_part_that_fails_fails_the_pass(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    with pytest.raises(MemoryError, match=r"a compiled pass over 8 rows failed: \d of \d parts ended"):
        Pass(_fail_late)(8, 1 << 20)


def _hits(cache: Path) -> tuple[str, str]:
    """How many passes a process of its own found in the cache, of one, and what it warned of."""
    asked = (
        "import torch; from bora_trainer import fused_update as f;"
        "p = f._PASSES[torch.float32]['tied']; p._compiled; print(p._compiled.cache_hits)"
    )
    said, warned = _elsewhere(asked, NUMBA_CACHE_DIR=str(cache))
    return said.strip(), warned


def test_the_next_process_finds_a_pass_compiled(tmp_path: Path) -> None:
    assert [_hits(tmp_path)[0] for _ in range(2)] == ["0", "1"]


def test_a_damaged_cache_is_told_of_and_does_not_matter(tmp_path: Path) -> None:
    _hits(tmp_path)
    for index in tmp_path.rglob("*.nbi"):
        index.write_bytes(b"garbage")
    hits, told = _hits(tmp_path)
    assert hits == "0" and "compiled passes are not cached: " in told
