"""Checkpoints of which something changed on the disk: the loader takes a whole one, or falls back, and never raises."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch

from bora_trainer import checkpoint
from fuzz import hostile
from fuzz.tally import Tally, Unsound, judge

NAMES = (checkpoint.TENSORS, checkpoint.FACTS, checkpoint.LIST)


def facts(step: int) -> dict[str, object]:
    return {"rng": {"seed": 3, "position": step}, "best": [1.5, None], "order": list(range(12))}


class Checkpoints:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bora-fuzz-")
        self._root = Path(self._folder.name)
        for step in (10, 20):
            tensors = {"theta": torch.arange(24.0).view(4, 6) + step, "moments": torch.zeros(4, 6)}
            checkpoint.save(self._root / "whole", checkpoint.Checkpoint(step, tensors, facts(step)))
        self._fallen_back = 0

    def run(self, rng: Random, count: int) -> Tally:
        self._fallen_back = 0
        tally = judge(rng, count, self._damage, self._load)
        tally.accepted -= self._fallen_back
        tally.refused["fallen back"] = self._fallen_back
        return tally

    def close(self) -> None:
        self._folder.cleanup()

    def _damage(self, rng: Random) -> str:
        """Says what was done to a fresh copy of both checkpoints."""
        run = self._root / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self._root / "whole", run)
        newest = run / "checkpoints" / "step-000020"
        ways: list[Callable[[Random, Path], str]] = [_bytes, _bytes, _listed_anew, _json, _missing, _names]
        return rng.choice(ways)(rng, newest)

    def _load(self, _what: str) -> None:
        found = checkpoint.load(self._root / "run", 20)
        if found is None:
            raise Unsound("the checkpoint before is whole, and was not found")
        if found.step == 10:
            self._fallen_back += 1
            same = torch.equal(found.tensors["theta"], torch.arange(24.0).view(4, 6) + 10)
            if not same or found.facts != json.loads(json.dumps(facts(10))):
                raise Unsound("the checkpoint before was changed")


def _bytes(rng: Random, folder: Path) -> str:
    file = folder / rng.choice(NAMES)
    file.write_bytes(hostile.mutated_bytes(rng, file.read_bytes()))
    return f"bytes of {file.name}"


def _listed_anew(rng: Random, folder: Path) -> str:
    """Damage that came before the list was written: sizes and hashes are those of the damaged file."""
    file = folder / rng.choice((checkpoint.TENSORS, checkpoint.FACTS))
    content = file.read_bytes()
    is_json = file.name == checkpoint.FACTS
    changed = hostile.mutated_json(rng, json.loads(content)) if is_json else hostile.mutated_bytes(rng, content)
    file.write_bytes(changed)
    listed = json.loads((folder / checkpoint.LIST).read_bytes())
    for entry in listed["files"]:
        if Path(entry["path"]).name == file.name:
            entry["size"], entry["sha256"] = len(changed), hashlib.sha256(changed).hexdigest()
    (folder / checkpoint.LIST).write_text(json.dumps(listed))
    return f"{file.name}, listed as it is now: {changed[:200]!r}"


def _json(rng: Random, folder: Path) -> str:
    file = folder / rng.choice((checkpoint.FACTS, checkpoint.LIST))
    changed = hostile.mutated_json(rng, json.loads(file.read_bytes()))
    file.write_bytes(changed)
    return f"{file.name}: {changed[:200]!r}"


def _missing(rng: Random, folder: Path) -> str:
    file = folder / rng.choice(NAMES)
    file.unlink()
    if rng.random() < 0.5:
        file.mkdir()
    return f"{file.name} gone"


def _names(rng: Random, folder: Path) -> str:
    """Folders that are nearly named as checkpoints are."""
    name = rng.choice(
        ("step-0000015", "step-15", "step-٠٠٠٠١٥", "step-000015", "step-", ".unfinished-x", "step-000015x")
    )
    strange = folder.with_name(name)
    if rng.random() < 0.5:
        strange.mkdir()
    else:
        strange.write_bytes(b"")
    if rng.random() < 0.5:
        shutil.rmtree(folder)
    return f"beside {name}"


def open_session() -> Checkpoints:
    return Checkpoints()
