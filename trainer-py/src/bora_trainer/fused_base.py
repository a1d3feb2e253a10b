"""A frozen base whose element-wise parts take one pass each, where a family's own answer is the same."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from bora_trainer.fused_norm import fuse_norms
from bora_trainer.fused_rotation import fuse_rotations

_PARTS = {"norms": fuse_norms, "rotations": fuse_rotations}


@dataclass(frozen=True, slots=True)
class FusedBase:
    """The modules whose forward was exchanged, by what they do."""

    modules: dict[str, list[nn.Module]]

    @classmethod
    def of(cls, model: nn.Module) -> FusedBase:
        """Exchanges what each part's own file says; on a GPU nothing."""
        return cls({name: fuse(model) for name, fuse in _PARTS.items()})

    @property
    def parts(self) -> list[str]:
        """Which of norms and rotations are exchanged."""
        return [name for name, modules in self.modules.items() if modules]

    def release(self) -> None:
        """Everything is computed as its family writes it again."""
        for modules in self.modules.values():
            for module in modules:
                module.__dict__.pop("forward", None)
