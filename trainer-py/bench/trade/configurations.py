"""Which adapters are compared: how many of the top layers hold them, and on which modules."""

from __future__ import annotations

from dataclasses import dataclass

_QUERY_AND_VALUE = ("q_proj", "v_proj")
_ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Configuration:
    """`top`: how many layers hold adapters, counted from the last; None: all, and no hidden states are kept."""

    words: str
    top: int | None
    targets: tuple[str, ...]

    def layers(self, of: int) -> tuple[int, ...]:
        """As `AdapterSpec.layers` names them, of a model with `of` decoder layers."""
        return () if self.top is None else tuple(range(of - self.top, of))


CONFIGURATIONS = {
    "all-qv": Configuration("all layers, q v", None, _QUERY_AND_VALUE),
    "last8-qv": Configuration("last 8, q v", 8, _QUERY_AND_VALUE),
    "last8-linear": Configuration("last 8, all linear", 8, _ALL_LINEAR),
    "last12-linear": Configuration("last 12, all linear", 12, _ALL_LINEAR),
}
