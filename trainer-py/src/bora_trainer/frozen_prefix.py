"""The frozen layers below the lowest adapted one: run by themselves, or passed over.

What enters the lowest adapted layer is the same for every adapter, precision, epoch and seed. No family is written
again here: its own body runs, with the forward of single layers exchanged for the time of a call. Positions, masks and
scaled embeddings are therefore the family's own. A family whose upper layers read more of the lower ones than these
states (keys and values of another layer, say) is found by `prefix_cache.py`, which compares both ways.

Shapes: N packed rows, T tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Forward = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Cut:
    """The decoder layers `layers` (a module's name), of which those from number `lowest` on hold adapters."""

    layers: str
    lowest: int


def find_cut(modules: Sequence[str]) -> Cut | None:
    """Where the adapted modules begin; None when they lie outside one numbered list, or its first layer is adapted."""
    layers = layer_list(modules)
    lowest = min(place[1] for name in modules if (place := _numbered(name)) is not None) if layers is not None else 0
    return None if layers is None or lowest == 0 else Cut(layers, lowest)


def layer_list(modules: Collection[str]) -> str | None:
    """The one numbered list of decoder layers that all `modules` lie in; None when there is none."""
    found = {place[0] if (place := _numbered(name)) is not None else None for name in modules}
    return found.pop() if len(found) == 1 else None


def _numbered(name: str) -> tuple[str, int] | None:
    """("model.layers", 3) of "model.layers.3.mlp.experts.7.w1": the outermost number counts decoder layers."""
    parts = name.split(".")
    for place, part in enumerate(parts):
        if part.isdecimal() and place > 0:
            return ".".join(parts[:place]), int(part)
    return None


class PrefixUnsupported(Exception):
    """The family cannot start from hidden states; the message says why."""


class _Reached(Exception):
    """Ends a forward below the cut."""


@dataclass(slots=True)
class Below:
    """`states`: what entered the lowest adapted layer, [N, T, H]."""

    states: Tensor | None = None


class FrozenPrefix:
    """The layers below the cut of one model."""

    def __init__(self, cut: Cut, layers: Sequence[nn.Module]) -> None:
        self.cut = cut
        self._layers = tuple(layers)
        self._beside = 0  # what a layer returns in a tuple beside its states

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        return self._layers

    @classmethod
    def of(cls, model: nn.Module, modules: Sequence[str]) -> FrozenPrefix | None:
        """Of the adapted `modules` of `model`; None when no layer lies below them."""
        cut = find_cut(modules)
        layers = model.get_submodule(cut.layers) if cut is not None else None
        if cut is None or not isinstance(layers, nn.ModuleList):
            return None
        return cls(cut, layers[: cut.lowest])  # pyright: ignore[reportArgumentType]

    @contextmanager
    def alone(self) -> Iterator[Below]:
        """Within it a forward of the body ends below the cut, and leaves what it got there.

        Raises `PrefixUnsupported` when that is not one tensor of [N, T, H], or when the forward never came there.
        """
        found, last = Below(), self._layers[-1]
        own = last.forward

        def reach(*arguments: Any, **options: Any) -> Any:
            found.states = self._states_of(own(*arguments, **options))
            raise _Reached

        with _exchanged({last: reach}):
            try:
                yield found
            except _Reached:
                return
        raise PrefixUnsupported(f"the forward does not pass through {self.cut.layers}.{self.cut.lowest - 1}")

    @contextmanager
    def passed_over(self, states_NTH: Tensor) -> Iterator[None]:
        """Within it the body's layers below the cut do nothing, and the lowest adapted one reads `states_NTH`."""
        forwards: dict[nn.Module, Forward] = {layer: self._pass_on for layer in self._layers}
        forwards[self._layers[-1]] = lambda *_, **__: self._answer(states_NTH)
        with _exchanged(forwards):
            yield

    def _pass_on(self, *arguments: Any, **options: Any) -> Any:
        return self._answer(arguments[0] if arguments else options["hidden_states"])

    def _states_of(self, answer: Any) -> Tensor:
        self._beside = len(answer) - 1 if isinstance(answer, tuple) else 0
        states = answer[0] if isinstance(answer, tuple) and answer else answer
        if not isinstance(states, Tensor) or states.dim() != 3:
            shape = list(states.shape) if isinstance(states, Tensor) else type(states).__name__
            raise PrefixUnsupported(f"its layers pass on {shape}, not [rows, tokens, hidden]")
        return states

    def _answer(self, states: Tensor) -> Any:
        return (states, *[None] * self._beside) if self._beside else states


@contextmanager
def _exchanged(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """The modules' forwards are these within it. On the instance, so that attributes and hooks stay."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, own in before.items():
            if own is None:
                del module.forward
            else:
                module.forward = own
