"""Products of compiled passes, beside NumPy's."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pytest
import torch

from bora_trainer import compiled_products
from bora_trainer.compiled_products import (
    PAIR_STRIPS,
    STRIPS,
    add_pairs,
    add_product,
    look_ahead,
    look_anew,
    nothing_ahead,
    turn,
)

NOTHING = nothing_ahead(0)
DRAW = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def each_test_draws_the_same() -> None:
    global DRAW
    DRAW = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("terms", [0, 1, 5, 128])
@pytest.mark.parametrize("rows", [0, 1, 3, 4, 9, 16])
@pytest.mark.parametrize("columns", [0, 1, 3, 4, 7, 8, 16, 31, 64, 157])
def test_a_product_is_added_to_its_numbers_and_no_others(rows: int, columns: int, terms: int) -> None:
    c, a, b = drawn(rows + 2, columns + 3), drawn(rows, terms), drawn(terms, columns)
    before = c.copy()
    add_product(c[1 : rows + 1, 2 : columns + 2], a, b, NOTHING)
    expected = before[1 : rows + 1, 2 : columns + 2] + a.astype(np.float64) @ b
    np.testing.assert_allclose(c[1 : rows + 1, 2 : columns + 2], expected, rtol=1e-5, atol=1e-5)
    c[1 : rows + 1, 2 : columns + 2] = before[1 : rows + 1, 2 : columns + 2]
    assert (c == before).all()


def test_factors_are_read_where_they_lie() -> None:
    c, a, b = drawn(9, 37), drawn(20, 30), drawn(20, 50)
    before = c.copy()
    add_product(c, a[3:14, 5:14].T, b[3:14, 7:44], NOTHING)
    np.testing.assert_allclose(c, before + a[3:14, 5:14].T @ b[3:14, 7:44], rtol=1e-5, atol=1e-5)


def test_no_bit_depends_on_how_rows_columns_and_terms_are_cut() -> None:
    c, a, b = drawn(13, 157), drawn(13, 40), drawn(40, 157)
    whole, cut = c.copy(), c.copy()
    add_product(whole, a, b, NOTHING)
    for rows in (slice(0, 5), slice(5, 13)):
        for columns in (slice(0, 17), slice(17, 80), slice(80, 157)):
            for terms in (slice(0, 1), slice(1, 32), slice(32, 40)):
                add_product(cut[rows, columns], a[rows, terms], b[terms, columns], NOTHING)
    assert (whole == cut).all()


def test_what_is_not_finite_stays_in_its_row_and_column() -> None:
    c, a, b = np.zeros((9, 70), np.float32), drawn(9, 12), drawn(12, 70)
    a[4, 3], b[7, 66] = np.nan, np.inf
    add_product(c, a, b, NOTHING)
    others = np.ones_like(c, bool)
    others[4], others[:, 66] = False, False
    assert np.isnan(c[4]).all() and (~np.isfinite(c[:, 66])).all() and np.isfinite(c[others]).all()


def paired(numbers: np.ndarray) -> np.ndarray:
    """Along each row, rounded to bfloat16."""
    bits = torch.from_numpy(numbers).bfloat16().view(torch.int16).numpy().view(np.uint16).astype(np.uint32)
    return bits[:, 0::2] | bits[:, 1::2] << np.uint32(16)


def near(numbers: np.ndarray) -> np.ndarray:
    """As bfloat16 has them."""
    return torch.from_numpy(numbers).bfloat16().double().numpy()


@pytest.mark.parametrize("terms", [0, 2, 10, 128])
@pytest.mark.parametrize("rows", [0, 1, 4, 11])
@pytest.mark.parametrize("columns", [1, 7, 16, 157])
def test_a_product_of_pairs_is_added_to_its_numbers_and_no_others(rows: int, columns: int, terms: int) -> None:
    c, a, b = drawn(rows + 2, columns + 3), drawn(rows, terms), drawn(columns, terms)
    before = c.copy()
    add_pairs(c[1 : rows + 1, 2 : columns + 2], paired(a), np.ascontiguousarray(paired(b).T), NOTHING)
    expected = before[1 : rows + 1, 2 : columns + 2] + near(a) @ near(b).T
    np.testing.assert_allclose(c[1 : rows + 1, 2 : columns + 2], expected, rtol=1e-5, atol=1e-5)
    c[1 : rows + 1, 2 : columns + 2] = before[1 : rows + 1, 2 : columns + 2]
    assert (c == before).all()


def test_pairs_have_the_same_bits_where_the_processor_cannot_and_however_they_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a processor that cannot, the whole and the parts alone are compared."""
    c, a, b = drawn(13, 157), paired(drawn(13, 40)), np.ascontiguousarray(paired(drawn(157, 40)).T)
    whole, cut, elsewhere = c.copy(), c.copy(), c.copy()
    add_pairs(whole, a, b, NOTHING)
    for columns in (slice(0, 17), slice(17, 80), slice(80, 157)):
        add_pairs(cut[:5, columns], a[:5], b[:, columns], NOTHING)
        add_pairs(cut[5:, columns], a[5:], b[:, columns], NOTHING)
    monkeypatch.setattr(compiled_products, "_PAIRS_AT_ONCE", False)
    compiled_products._product(pairs=True)[0](elsewhere, a, b, NOTHING)
    assert (whole == cut).all() and (whole == elsewhere).all()


@pytest.mark.parametrize("columns", [4, 16, 100, 128])
@pytest.mark.parametrize(("multiply", "of_line"), [(add_product, 1), (add_pairs, 2)])
def test_what_comes_next_is_fetched_at_the_pace_of_the_products(multiply: Any, of_line: int, columns: int) -> None:
    """64 tokens with a factor of 96 by `columns` while they are multiplied with one; nothing is at the addresses."""
    c, ahead = drawn(64, columns), nothing_ahead(2)
    a, b = np.zeros((64, 96 // of_line), np.uint32), np.zeros((96 // of_line, columns), np.uint32)
    a, b = (each.view(np.float32) if of_line == 1 else each for each in (a, b))
    expected, size = c.copy(), 96 * columns * 4
    look_anew(ahead, 64)
    first = size // 3
    look_ahead(ahead, 1 << 41, size - first)
    look_ahead(ahead, 1 << 40, first)
    for done in range(16, 80, 16):
        multiply(c[:16], a[:16], b, ahead)
        fetched = sum(ahead[[3, 5]] - [1 << 41, 1 << 40])
        assert abs(fetched - size * done / 64) <= 4 * 64
    assert (c == expected).all()
    multiply(c[:16], a[:16], b, ahead)
    assert ahead[1] == 0 and all(ahead[[3, 5]] - ahead[[4, 6]] >= 0) and all(ahead[[3, 5]] - ahead[[4, 6]] < 64)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="what a processor is told is read for x86 alone")
def test_the_processor_is_told() -> None:
    add_product(drawn(4, 4), drawn(4, 4), drawn(4, 4), NOTHING)
    (told,) = compiled_products._fetch.inspect_asm().values()  # pyright: ignore[reportFunctionMemberAccess]
    assert "prefetcht1" in told


@pytest.mark.parametrize("rows", [0, 1, 4, 7, 8, 13, 24])
@pytest.mark.parametrize("columns", [0, 1, 4, 6, 8, 12, 17])
def test_rows_become_columns_bit_by_bit_and_nothing_else_is_written(rows: int, columns: int) -> None:
    source, target = drawn(rows + 1, columns + 2), drawn(columns + 2, rows + 3)
    before = target.copy()
    turn(source[1:, 2:], target[1 : columns + 1, 1 : rows + 1])
    before[1 : columns + 1, 1 : rows + 1] = source[1:, 2:].T
    assert (target == before).all()


def test_no_two_strips_have_one_name() -> None:
    """Code from the cache is linked by name with that of the process."""
    strips = [*STRIPS.values(), *PAIR_STRIPS.values()]
    assert len({strip.py_func.__qualname__ for strip in strips}) == len(strips) >= 8
