"""The files of the frozen-prefix cache, killed, shared, damaged: the same bits, or none kept."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from prefix_caches import (
    counted,
    dataset,
    engine_of,
    folder,
    states_file,
    warmed,
)
from tiny_runs import bodies

from bora_trainer import prefix_cache
from bora_trainer.errors import TrainerError
from bora_trainer.prefix_cache import open_cache
from bora_trainer.state_files import NoRoom, StateFolder


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prefix_cache._FILL_TOKENS, "cpu", 12)
    monkeypatch.setattr(prefix_cache, "_TELL_SECONDS", 0.0)


def test_a_filling_that_was_stopped_goes_on_with_the_same_bits(tmp_path: Path, small_batches: None) -> None:
    expected = warmed(engine_of("llama-tied"), tmp_path / "whole").states_MH.clone()
    cache, _ = open_cache(engine_of("llama-tied"), dataset(), folder(tmp_path))
    assert cache is not None and len(cache.batches) > 4
    asked = iter([False, False, True])
    with pytest.raises(TrainerError) as raised:
        list(cache.fill(lambda: next(asked)))
    assert raised.value.code == "drained"
    assert not torch.equal(cache.states_MH, expected)
    engine = engine_of("llama-tied")
    computed = counted(engine)
    assert torch.equal(warmed(engine, tmp_path).states_MH, expected)
    assert computed() == len(cache.batches) - 2


def test_events_tell_how_far_it_is(tmp_path: Path, small_batches: None) -> None:
    cache, words = open_cache(engine_of("llama-tied"), dataset(), folder(tmp_path))
    assert cache is not None and words == f"hidden states below layer 2 are kept: 51 tokens, {51 * 32 * 4} bytes"
    told = bodies(list(cache.fill(lambda: False)), "prefix_cache_filled")
    assert [fill.tokens for fill in told] == sorted({fill.tokens for fill in told}) and len(told) == len(cache.batches)
    assert {fill.of_tokens for fill in told} == {51} and told[-1].tokens == 51 and told[-1].seconds > 0
    again, _ = open_cache(engine_of("llama-tied"), dataset(), folder(tmp_path))
    assert again is not None
    assert [fill.tokens for fill in bodies(list(again.fill(lambda: False)), "prefix_cache_filled")] == [51]


@pytest.mark.parametrize("damage", ["a byte", "cut short", "no list", "half a line"])
def test_a_damaged_file_is_found_and_computed_again(tmp_path: Path, small_batches: None, damage: str) -> None:
    cache = warmed(engine_of("llama-tied"), tmp_path)
    expected, file = cache.states_MH.clone(), states_file(tmp_path)
    cache.file.close()
    content, pieces = bytearray(file.read_bytes()), file.with_name("pieces.txt")
    match damage:
        case "a byte":
            content[700] ^= 1
            file.write_bytes(content)
        case "cut short":
            file.write_bytes(content[:700])
        case "no list":
            pieces.unlink()
        case "half a line":
            pieces.write_bytes(pieces.read_bytes()[:-20])
    engine = engine_of("llama-tied")
    computed = counted(engine)
    assert torch.equal(warmed(engine, tmp_path).states_MH, expected)
    once = damage in ("a byte", "half a line")
    assert computed() == (1 if once else len(cache.batches))
    warmed(engine, tmp_path)
    assert computed() == (1 if once else len(cache.batches)) + 1  # this opening's probe, and nothing else


def test_the_least_recently_used_gives_way_but_none_in_use(tmp_path: Path) -> None:
    store = folder(tmp_path, limit=250)
    files = [store.claim(key, 100) for key in ("a", "b")]
    with pytest.raises(NoRoom, match="beside .* that other runs use"):
        store.claim("c", 100)
    for file, age in zip(files, (10, 20), strict=True):
        os.utime(file._entry / "in-use", (age, age))
        file.close()
    store.claim("a", 100).close()  # used just now
    store.claim("c", 100).close()
    assert sorted(entry.name for entry in store.path.iterdir() if entry.is_dir()) == ["a", "c"]
    with pytest.raises(NoRoom, match="are allowed"):
        store.claim("d", 251)


def test_the_limit_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BORA_PREFIX_CACHE_BYTES", raising=False)
    assert StateFolder.from_environment(tmp_path).limit is None
    monkeypatch.setenv("BORA_PREFIX_CACHE_BYTES", "0")
    off = StateFolder.from_environment(tmp_path)
    cache, words = open_cache(engine_of("llama-tied"), dataset(), off)
    assert cache is None and "0.0 MiB are allowed" in words


def test_what_does_not_fit_is_not_kept_and_the_numbers_are_told(tmp_path: Path) -> None:
    cache, words = open_cache(engine_of("llama-tied"), dataset(), folder(tmp_path, limit=1000))
    assert cache is None
    assert "not kept: they need 0.0 MiB" in words and "BORA_PREFIX_CACHE_BYTES" in words
    assert not list((tmp_path / "states").glob("*/states.bin"))


def fill_slowly(path: Path, begun) -> None:
    """In another process; killed while it fills."""
    prefix_cache._FILL_TOKENS["cpu"] = 12
    torch.set_num_threads(1)
    cache, _ = open_cache(engine_of("llama-tied"), dataset(), folder(path))
    assert cache is not None
    own, count = cache.file.write, Counter[str]()

    def write(number: int, start: int, content: bytes) -> None:
        count.update(["pieces"])
        if count["pieces"] == 3:
            with states_file(path).open("r+b") as stream:  # the write that the kill cuts in two
                stream.seek(start)
                stream.write(content[:10])
            begun.set()
            time.sleep(600)
        own(number, start, content)

    cache.file.write = write
    list(cache.fill(lambda: False))


def test_killed_while_it_fills_another_waits_and_ends_with_the_same_bits(tmp_path: Path, small_batches: None) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the other process, so that both mean one file
    try:
        expected = warmed(engine_of("llama-tied"), tmp_path / "whole").states_MH.clone()
        spawn = multiprocessing.get_context("spawn")
        begun = spawn.Event()
        other = spawn.Process(target=fill_slowly, args=(tmp_path, begun))
        other.start()
        assert begun.wait(120) and other.pid is not None
        cache, _ = open_cache(engine_of("llama-tied"), dataset(), folder(tmp_path))
        assert cache is not None
        questions = Counter[str]()

        def kill_at_the_third() -> bool:
            questions.update(["asked"])
            if questions["asked"] == 3 and other.pid is not None:
                os.kill(other.pid, signal.SIGKILL)
            return False

        list(cache.fill(kill_at_the_third))
        assert questions["asked"] >= 3, "it did not wait for the one that filled"
        other.join()
        assert torch.equal(cache.states_MH, expected)
    finally:
        torch.set_num_threads(threads)


def fill_and_tell(path: Path, results) -> None:
    prefix_cache._FILL_TOKENS["cpu"] = 12
    torch.set_num_threads(1)
    engine = engine_of("llama-tied")
    computed = counted(engine)
    states = warmed(engine, path).states_MH
    results.put((computed(), hashlib.sha256(states.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()))


def test_two_processes_at_once_compute_everything_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    both = [spawn.Process(target=fill_and_tell, args=(tmp_path, results)) for _ in range(2)]
    for process in both:
        process.start()
    (one, bits), (other, others) = results.get(timeout=120), results.get(timeout=120)
    for process in both:
        process.join()
    assert bits == others
    assert 0 in (one, other) and one + other > 4
