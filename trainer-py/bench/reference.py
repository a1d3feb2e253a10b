"""What the gate holds ours to: gradients by torch.func in float64, and the update of docs/method.md, section 3, word by
word, one task after the other. Slow on purpose, and shares no code with the engine or the optimiser.

Shapes: G rows, D tasks, N documents of a row, L tokens, P weights a row.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.contestants import BETAS, EPSILON
from bench.shapes import Shape, adapter
from bora_trainer.adapters.lora import Lora


class Oracle:
    """Gradients of the summed nats of each row, in float64, at base weights rounded to `dtype`."""

    def __init__(self, shape: Shape, rank: int, dtype: torch.dtype) -> None:
        self._model = copy.deepcopy(shape.model(dtype)).double()
        self._weights: dict[str, Tensor] = dict(self._model.named_parameters())
        self._lora = Lora.of(self._model, adapter(rank))

    def gradients(self, rows_GP: Tensor, tokens_GNL: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no batching rule
            return vmap(grad(self._nats))(rows_GP.double(), tokens_GNL)

    def _nats(self, row_P: Tensor, tokens_NL: Tensor) -> Tensor:
        tensors, changed = self._lora.layout.tensors(row_P), dict(self._weights)
        for module in self._lora.modules:
            change = self._lora.scale * tensors[module, "lora_B"] @ tensors[module, "lora_A"]
            changed[f"{module}.weight"] = changed[f"{module}.weight"] + change
        documents, length = tokens_NL.shape
        inputs = {
            "input_ids": tokens_NL,
            "position_ids": torch.arange(length).expand(documents, -1),
            "attention_mask": torch.ones(length, length, dtype=torch.bool).tril().expand(documents, 1, -1, -1),
            "use_cache": False,
        }
        logits_NLV = functional_call(self._model, changed, (), inputs).logits
        return -logits_NLV.log_softmax(-1)[:, :-1].gather(-1, tokens_NL[:, 1:, None]).sum()


class Adam:
    """Moments and direction of one vector."""

    def __init__(self, weights: int) -> None:
        self.first, self.second = torch.zeros(2, weights, dtype=torch.float64)
        self.steps = 0

    def __call__(self, gradient_P: Tensor) -> tuple[Tensor, Tensor]:
        """mhat and sqrt(vhat) + epsilon."""
        self.steps += 1
        self.first = BETAS[0] * self.first + (1 - BETAS[0]) * gradient_P
        self.second = BETAS[1] * self.second + (1 - BETAS[1]) * gradient_P**2
        mhat = self.first / (1 - BETAS[0] ** self.steps)
        return mhat, (self.second / (1 - BETAS[1] ** self.steps)).sqrt() + EPSILON


class ReferenceFit:
    """The D adapters of one tau."""

    def __init__(self, initial_P: Tensor, tau: float, tasks: int, loss_scale: float) -> None:
        self._tau, self._loss_scale = tau, loss_scale
        self._mean_P = initial_P.double()
        self._offsets = [torch.zeros_like(self._mean_P) for _ in range(tasks)]
        self._adams = [Adam(len(initial_P)) for _ in range(tasks)]
        self._mean_adam = Adam(len(initial_P))

    def rows(self) -> Tensor:
        return torch.stack([self._mean_P + offset for offset in self._offsets])

    def step(self, nats_gradient_DP: Tensor, learning_rate: float) -> None:
        gradients = [self._loss_scale * gradient for gradient in nats_gradient_DP]
        strength = self._loss_scale * self._tau
        shrinks = []
        for place, gradient in enumerate(gradients):
            mhat, curvature = self._adams[place](gradient)
            weight = curvature / learning_rate  # W_d
            shrinks.append(1 / (1 + strength / weight))
            self._offsets[place] = shrinks[-1] * (self._offsets[place] - mhat / weight)
        mhat, curvature = self._mean_adam(torch.stack(gradients).sum(0))
        taken = 1 - torch.stack(shrinks).mean(0)
        self._mean_P = self._mean_P - taken * learning_rate * mhat / curvature
        mean = torch.stack(self._offsets).mean(0)
        self._mean_P = self._mean_P + mean
        self._offsets = [offset - mean for offset in self._offsets]
