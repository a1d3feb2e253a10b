"""Seeded orders that are the same on every machine and Python version: things sorted by a hash of their key.

A hash order needs no generator state, so any epoch can be had without the ones before it; and a thing's place depends
on its own key only, so neither other tasks nor the order of rows in a file change it.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def _digest(key: Sequence[str | int]) -> "hashlib._Hash":
    return hashlib.sha256(json.dumps(list(key)).encode())


def permutation(count: int, *key: str | int) -> list[int]:
    """A uniformly drawn order of 0..count-1, a pure function of `key`."""
    start = _digest(key)

    def place(index: int) -> bytes:
        digest = start.copy()
        digest.update(index.to_bytes(8, "big"))
        return digest.digest()

    return sorted(range(count), key=place)


def hash_order(items: Sequence[Item], name: Callable[[Item], str], *key: str | int) -> list[Item]:
    """`items` in an order that depends on `key` and each item's own name only."""
    return sorted(items, key=lambda item: _digest([*key, name(item)]).digest())


def choose(items: Sequence[Item], count: int, name: Callable[[Item], str], *key: str | int) -> list[Item]:
    """`count` of the items by `key`, in their given order. A smaller count chooses a subset of a larger one."""
    chosen = {name(item) for item in hash_order(items, name, *key)[:count]}
    return [item for item in items if name(item) in chosen]
