"""Peak memory of a step beside what the footprint predicts: `python -m bench.memory`, one fresh process a shape.

The prediction is made in a process of its own, as `bora plan` has it made; the other process only trains.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch

from bench.shapes import SHAPES, TARGETS
from bora_trainer.allocations import resident_bytes
from bora_trainer.data import Document, pack
from bora_trainer.engine import Engine
from bora_trainer.footprint import Footprint, measure
from bora_trainer.heap import restart_with_kept_memory
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.models import LoadedModel
from bora_trainer.spec import AdapterSpec

MIB = 2**20
STEPS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """`rows` of a micro-batch hold `documents` documents of `length` tokens each."""

    shape: str
    fits: int
    tasks: int
    rows: int
    documents: int
    length: int

    @property
    def tokens(self) -> int:
        return self.rows * self.documents * self.length


CASES = {
    case.shape: case
    for case in (
        Case("hidden-256", 6, 50, 75, 1, 64),
        Case("smollm2-135m", 5, 6, 15, 1, 64),
        Case("opt", 2, 6, 6, 2, 64),
    )
}


def loaded_of(name: str) -> LoadedModel:
    """Random weights; "opt" is a model of the OPT family: learned positions, ReLU, biases, projected embeddings."""
    if name in SHAPES:
        return SHAPES[name].loaded(torch.float32)
    from transformers import AutoModelForCausalLM, OPTConfig

    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=50272, hidden_size=768, ffn_dim=3072, num_hidden_layers=12, num_attention_heads=12,
        word_embed_proj_dim=512, do_layer_norm_before=False,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").requires_grad_(False).eval()
    return LoadedModel(model, None, name, "0" * 64, torch.float32, "sdpa")  # pyright: ignore[reportArgumentType]


def engine_of(case: Case) -> Engine:
    torch.set_num_threads(2)
    engine = Engine(loaded_of(case.shape), AdapterSpec("lora", 16, 16.0, TARGETS, ()))
    rows_1P = engine.initial(0)[None].clone()
    engine.accumulate(rows_1P, torch.zeros_like(rows_1P), batch_of(1, 1, 8), range(1), torch.ones(1))
    return engine


def batch_of(rows: int, documents: int, length: int):
    words = tuple(1 + i % 50 for i in range(length))
    return pack([[Document(0, f"{r}-{i}", "", words, 1, length) for i in range(documents)] for r in range(rows)])


def predict(case: Case) -> Footprint:
    return measure(engine_of(case), case.length)


def train(case: Case) -> dict[str, int]:
    """Peak resident bytes of the whole process over some steps, and the resident bytes before the rows were there."""
    engine = engine_of(case)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    batch = batch_of(case.rows, case.documents, case.length)
    start_KP = torch.stack([engine.initial(0)] * case.fits)
    optimiser = HierarchicalAdam(
        start_KP, [1e3] * case.fits, case.tasks, loss_scale=1e-3, betas=(0.9, 0.999), epsilon=1e-8
    )
    best_KDP, best_KP = torch.zeros_like(optimiser.rows_KDP), torch.zeros_like(start_KP)
    del start_KP
    for _ in range(STEPS):
        for first in range(0, case.fits * case.tasks, case.rows):
            rows = range(first, first + case.rows)
            engine.accumulate(optimiser.rows_GP, optimiser.gradient_GP, batch, rows, torch.ones(case.rows))
        optimiser.step(1e-3)
        best_KDP.copy_(optimiser.rows_KDP)
        best_KP.copy_(optimiser.prior_mean_KP)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak": peak, "before": before, "after": resident_bytes()}


def in_child(mode: str, shape: str) -> dict[str, int]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.memory", "--mode", mode, "--shape", shape]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def compare(shape: str) -> dict[str, float]:
    """Predicted and measured bytes of one shape, each from a process of its own."""
    case = CASES[shape]
    footprint = Footprint(**in_child("predict", shape))
    measured = in_child("train", shape)
    predicted = footprint.peak(case.fits, case.tasks, case.tokens)
    return asdict(footprint) | measured | {"predicted": predicted, "ratio": predicted / measured["peak"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=["predict", "train"])
    parser.add_argument("--shape", choices=list(CASES), action="append")
    options = parser.parse_args()
    for shape in options.shape or CASES:
        if options.mode == "predict":
            print(json.dumps(asdict(predict(CASES[shape]))))
        elif options.mode == "train":
            print(json.dumps(train(CASES[shape])))
        else:
            case, found = CASES[shape], compare(shape)
            print(case)
            for name, value in found.items():
                print(f"  {name:22} {value if value < 2 else f'{value / MIB:12.1f} MiB' if value > 1e7 else value}")


if __name__ == "__main__":
    restart_with_kept_memory()
    main()
