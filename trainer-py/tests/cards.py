"""For tests of kernels in Triton: on a graphics card as they are, elsewhere in Triton's interpreter, on the CPU.

conftest.py imports it before anything that could import Triton, which decides at once whether it interprets.
"""

from __future__ import annotations

import os

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"
