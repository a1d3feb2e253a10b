"""A run's file: what was measured, where, with which command. Written whole after every cell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCHEMA = 1
RIVALS = ("published", "steelman", "peft-sequential", "peft-best-batch", "slice-loop", "grouped-gemm")

# What must agree before a run may go on with another's file.
_SAME = ("schema", "machine", "versions", "git", "dtype", "threads", "settings")


class ResumeRefused(Exception):
    """The file is of another machine, commit, dtype or version."""


@dataclass(slots=True)
class Results:
    """`header`: all but the cells. `cells`: as `CellResult.to_json` of runner.py gives them, skipped ones included."""

    header: dict[str, Any]
    cells: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, **header: Any) -> Results:
        return cls({"schema": SCHEMA, "date": datetime.now(UTC).isoformat(timespec="seconds"), **header})

    @classmethod
    def read(cls, file: Path) -> Results:
        content = json.loads(file.read_text("utf-8"))
        return cls({key: value for key, value in content.items() if key != "cells"}, content["cells"])

    def write(self, file: Path) -> None:
        """The whole file or none of it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.new")
        beside.write_text(json.dumps({**self.header, "cells": self.cells}, indent=1) + "\n", "utf-8")
        os.replace(beside, file)

    def resume(self, file: Path) -> None:
        """Takes over the cells of `file`. Raises ResumeRefused where they would not be comparable."""
        earlier = Results.read(file)
        other = [key for key in _SAME if earlier.header.get(key) != self.header.get(key)]
        if other:
            words = "; ".join(f"{key} {earlier.header.get(key)} there, {self.header.get(key)} here" for key in other)
            raise ResumeRefused(f"{file}: {words}")
        self.header["date"] = earlier.header["date"]
        self.cells = earlier.cells

    def has(self, name: str, *, rivals: bool = False) -> bool:
        """Whether a cell need not be measured; `rivals`: with them."""
        return any(cell["name"] == name and (not rivals or cell["skipped"] or has_rivals(cell)) for cell in self.cells)

    def put(self, cell: dict[str, Any]) -> None:
        """In the place of what was found without rivals, or as the last."""
        by_name = {one["name"]: one for one in self.cells}
        by_name[cell["name"]] = cell  # a name keeps its place
        self.cells = list(by_name.values())


def measured(cells: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [cell for cell in cells if not cell["skipped"]]


def has_rivals(cell: dict[str, Any]) -> bool:
    return all(rival in cell["contestants"] for rival in RIVALS)


def seconds(cell: dict[str, Any], name: str) -> float:
    """The median of a step."""
    return cell["contestants"][name]["seconds"]["median"]


def share_of_floor(cell: dict[str, Any], name: str = "ours") -> float:
    return seconds(cell, "floor") / seconds(cell, name)


def speed_up(cell: dict[str, Any], rival: str) -> float:
    """How many times as many tokens a second ours trains."""
    return seconds(cell, rival) / seconds(cell, "ours")


def lost_to(cell: dict[str, Any]) -> list[str]:
    """The rivals that are faster than ours."""
    return [rival for rival in RIVALS if rival in cell["contestants"] and speed_up(cell, rival) < 1]
