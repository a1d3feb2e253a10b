"""Cross-entropy on a graphics card: nats and their slopes of a block of logits, in the place of the logits.

In torch's operations the logits of a chunk are read and written some ten times, in float32, 17 % of what a step of
OPT-350m takes on an H100 (docs/performance.md). Here they are read twice and written once, as they are. The largest
logit and the sum of exponentials are found in one pass (Milakov and Gimelshein 2018, arXiv:1805.02867).

Shapes: M scored positions, V vocabulary.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from bora_trainer.card_kernels import launch

_COLUMNS, _WARPS = 4096, 8
_LOWEST = tl.constexpr(-3.0e38)  # below every logit; finite, as the difference of two infinities is none
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def write_nats_and_slope(product_MV: Tensor, target_M: Tensor, nats_M: Tensor, *, sloped: bool) -> None:
    """Nats into `nats_M`, float32. With `sloped`, softmax - one-hot overwrites `product_MV`.

    All are contiguous; `product_MV` is of one of `DTYPES`, `target_M` int64 and below V. What is not finite makes the
    nats of its position NaN, or infinite where the target's own logit is minus infinity.
    """
    count, vocabulary = product_MV.shape
    assert product_MV.is_contiguous() and product_MV.dtype in DTYPES and nats_M.dtype == torch.float32
    assert target_M.shape == nats_M.shape == (count,) and target_M.is_contiguous() and nats_M.is_contiguous()
    if count > 0:
        width = min(_COLUMNS, triton.next_power_of_2(vocabulary))
        launch(_nats, (count,), product_MV, target_M, nats_M, vocabulary, sloped, width, num_warps=_WARPS)


@triton.jit
def _nats(product, target, nats, vocabulary, SLOPED: tl.constexpr, WIDTH: tl.constexpr):
    """One position. Each of WIDTH lanes keeps its own largest logit and its own sum until the end."""
    place = tl.program_id(0).to(tl.int64)
    row, wanted = product + place * vocabulary, tl.load(target + place)
    own = tl.load(row + wanted, mask=wanted < vocabulary, other=float("nan")).to(tl.float32)
    lanes = tl.arange(0, WIDTH)
    top = tl.full((WIDTH,), _LOWEST, tl.float32)
    total = tl.zeros((WIDTH,), tl.float32)
    for start in range(0, vocabulary, WIDTH):
        columns = start + lanes
        logit = tl.load(row + columns, mask=columns < vocabulary, other=_LOWEST).to(tl.float32)
        above = tl.maximum(top, logit)
        total = total * tl.exp(top - above) + tl.exp(logit - above)
        top = above
    highest = tl.max(top, 0)
    spread = highest + tl.log(tl.sum(total * tl.exp(top - highest), 0))
    tl.store(nats + place, spread - own)
    if SLOPED:
        for start in range(0, vocabulary, WIDTH):
            columns = start + lanes
            inside = columns < vocabulary
            logit = tl.load(row + columns, mask=inside, other=_LOWEST).to(tl.float32)
            slope = tl.exp(logit - spread) - tl.where(columns == wanted, 1.0, 0.0)
            tl.store(row + columns, slope.to(product.dtype.element_ty), mask=inside)
