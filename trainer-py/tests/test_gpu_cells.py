"""The benchmark's cell for graphics cards: refused by name without one, and counted as OPT-350m is."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from bench.__main__ import main
from bench.cells import gpu_cells
from bench.shapes import SHAPES


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_graphics_card_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cells", "gpu"]) == 2
    assert "no graphics card" in capsys.readouterr().err


def test_its_products_are_those_of_opt_350m() -> None:
    shape = SHAPES["opt-350m"]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape.config())
    linear = (module.weight for module in model.modules() if isinstance(module, nn.Linear))
    assert sum(weight.numel() for weight in linear) == shape.matmul_parameters == 328_777_728
    (cell,) = gpu_cells()
    assert (cell.tasks, cell.tokens_per_step, cell.skipped) == (25, 8200, "")
