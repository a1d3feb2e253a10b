"""Compiles every kernel for a card that need not be here, and prints its name: what an interpreter does not refuse."""

from __future__ import annotations

from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bora_trainer import card_nats, card_update
from bora_trainer.adapters import card_change

CARDS = (80, 90)  # compute capabilities: A100, H100
_CHANGE = {
    "factor": "*fp32", "gradient": "*fp32", "narrow": "*fp32", "bounds": "*i64",
    **dict.fromkeys(("width", "columns", "rank", "row_stride", "rank_stride", "column_stride", "narrow_stride"), "i32"),
}  # fmt: skip
_UPDATE = {"failed": "*i64", **dict.fromkeys(("tasks", "weights", "number"), "i32")}
_NUMBERS = ("scale", "beta1", "rest1", "beta2", "rest2", "correction1", "correction2", "epsilon", "rate", "strength")


def compiled(kernel: Any, kinds: dict[str, str], other: str, **constants: object) -> None:
    """`kinds`: types of parameters by name; `other`: of all that are not named."""
    names: list[str] = kernel.arg_names
    signature = {name: "constexpr" if name in constants else kinds.get(name, other) for name in names}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    for capability in CARDS:
        triton.compile(source, target=GPUTarget("cuda", capability, 32))


def main() -> None:
    for kind in ("*bf16", "*fp32"):
        nats = {"product": kind, "target": "*i64", "nats": "*fp32", "vocabulary": "i32"}
        compiled(card_nats._nats, nats, "", SLOPED=True, WIDTH=4096)
        for ragged in (False, True):
            for kernel in (card_change._shrink_tile, card_change._expand_tile, card_change._gather_tile):
                change = {**_CHANGE, "wide": kind, "scale": "fp32"}
                sizes = {"RANKS": 16, "TOKENS": 32, "COLUMNS": 64}
                compiled(kernel, change, "", RAGGED=ragged, EXACT=kind == "*fp32", **sizes)
    numbers = dict.fromkeys((*_NUMBERS, "pull_to_mean"), "fp32")
    for rule in card_update._RULES.values():
        for rated in (False, True):
            compiled(card_update._advance, _UPDATE | numbers, "*fp32", RULE=rule, RATED=rated, COLUMNS=1024)
    print("compiled")


if __name__ == "__main__":
    main()
