"""Products of compiled passes, beside NumPy's."""

import numpy as np
import pytest

from bora_trainer.compiled_products import add_products, dots

DRAW = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("inputs", [1, 17, 128])
def test_dot_products_go_to_their_columns_and_no_others(count: int, rank: int, inputs: int) -> None:
    x, w, to = drawn(8, inputs), drawn(rank, inputs), np.full((8, rank + 3), 7, np.float32)
    dots(x, count, w, np.float32(0.5), to, 2)
    np.testing.assert_allclose(to[:count, 2 : 2 + rank], 0.5 * x[:count] @ w.T, rtol=1e-4, atol=1e-5)
    assert (to[:, :2] == 7).all() and (to[:, 2 + rank :] == 7).all() and (to[-(-count // 4) * 4 :] == 7).all()


@pytest.mark.parametrize("terms", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("columns", [1, 16, 100])
def test_multiples_are_added_to_their_rows_and_no_others(count: int, terms: int, columns: int) -> None:
    to, x, w = drawn(8, 128), drawn(terms, 128), drawn(terms + 3, count + 2)
    before = to.copy()
    add_products(to, count, x, columns, w, 3, 2, terms)
    expected = before[:count, :columns] + w[3:, 2:].T @ x[:, :columns]
    np.testing.assert_allclose(to[:count, :columns], expected, rtol=1e-4, atol=1e-5)
    assert (to[count:] == before[count:]).all() and (to[:, columns:] == before[:, columns:]).all()


def test_no_bit_depends_on_how_columns_are_cut() -> None:
    to, x, w = drawn(5, 128), drawn(9, 128), drawn(9, 5)
    whole, cut = to.copy(), to.copy()
    add_products(whole, 5, x, 128, w, 0, 0, 9)
    for start, stop in ((0, 16), (16, 80), (80, 128)):
        part, some = np.ascontiguousarray(cut[:, start:stop]), np.ascontiguousarray(x[:, start:stop])
        add_products(part, 5, some, stop - start, w, 0, 0, 9)
        cut[:, start:stop] = part
    assert (whole == cut).all()
