"""Where the tokens of each adapter row lie in a micro-batch.

The frozen base does not care whose a token is: rows of unequal length are read by it end to end, without a pad. Only
batched products with the rows' own factors need a rectangle, and those are small.

Shapes: N adapter rows, T tokens of the longest, M tokens in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bora_trainer.gather import gather


@dataclass(frozen=True, slots=True)
class RowLayout:
    """`place`, [N * T]: which of the M tokens stands there, and the row's first where none does (`real` [N * T, 1] is
    then false). `origin_M` leads back. Row n has the tokens from `bounds[n]` to `bounds[n + 1]`, [N + 1].
    Without them rows are of one length, or padded already, and M = N * T.
    """

    rows: int
    width: int
    place: Tensor | None = None
    real: Tensor | None = None
    origin_M: Tensor | None = None
    bounds: Tensor | None = None

    @classmethod
    def end_to_end(cls, lengths_N: Sequence[int], tokens: int) -> RowLayout:
        """On the CPU, of rows that lie one behind the other at the start of `tokens` tokens.

        What stands behind them gets some row's change or none, and nobody reads it.
        """
        width = max(1, *lengths_N)
        length_N1 = torch.tensor(lengths_N)[:, None]
        bounds = F.pad(length_N1.flatten().cumsum(0), (1, 0))
        first_N1 = bounds[:-1, None]
        step_T = torch.arange(width)
        real_NT = step_T < length_N1
        place_NT = torch.where(real_NT, first_N1 + step_T, first_N1.clamp_max(max(0, sum(lengths_N) - 1)))
        origin_M = F.pad(real_NT.flatten().nonzero().squeeze(1), (0, tokens - sum(lengths_N)))
        return cls(len(lengths_N), width, place_NT.flatten(), real_NT.flatten()[:, None], origin_M, bounds)

    @property
    def indices(self) -> tuple[Tensor | None, ...]:
        return self.place, self.real, self.origin_M, self.bounds

    def longest(self, tokens: int) -> int:
        """At least as many as the longest row has, of `tokens` in all."""
        return self.width if self.bounds is not None else tokens // self.rows

    def by_row(self, values: Tensor) -> Tensor:
        """[N, T, width] of [..., M tokens, width]; zero where no token stands."""
        if self.place is None or self.real is None:
            return values.reshape(self.rows, -1, values.shape[-1])
        flat = gather(values.reshape(-1, values.shape[-1]), self.place, self.real)
        return flat.view(self.rows, self.width, -1)

    def back(self, values_NTW: Tensor) -> Tensor:
        """[M, width]: the tokens alone, one row behind the other."""
        flat = values_NTW.flatten(0, 1)
        return flat if self.origin_M is None else flat.index_select(0, self.origin_M)
