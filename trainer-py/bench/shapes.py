"""The base models that are measured: real architectures with random weights, so that nothing has to be downloaded.

Weights are random and never zero: products with zeros run faster.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig, PreTrainedConfig, PreTrainedModel

from bora_trainer.models import LoadedModel
from bora_trainer.spec import AdapterSpec

TARGETS = ("q_proj", "v_proj")
ALPHA = 16.0


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    small: bool = True

    def config(self) -> PreTrainedConfig:
        sizes: dict[str, Any] = {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
            "initializer_range": 0.05,
        }
        return LlamaConfig(**sizes)

    def model(self, dtype: torch.dtype, device: str = "cpu") -> PreTrainedModel:
        """A frozen model of this shape; the same weights at every call, rounded to `dtype`.

        Modules and configuration are the caller's own; the weights, which nobody trains, are one copy for all callers.
        """
        drawn = _drawn(self, dtype, device)
        return copy.deepcopy(drawn, {id(tensor): tensor for tensor in drawn.parameters()})

    def loaded(self, dtype: torch.dtype, device: str = "cpu") -> LoadedModel:
        return LoadedModel(self.model(dtype, device), None, self.name, "0" * 64, dtype, "sdpa")  # pyright: ignore[reportArgumentType]

    @property
    def matmul_parameters(self) -> int:
        """N: weights that every token is multiplied with, the output embedding included."""
        keys_and_values = self.hidden * self.key_value_heads // self.heads
        layer = 2 * self.hidden * self.hidden + 2 * self.hidden * keys_and_values + 3 * self.hidden * self.intermediate
        return self.layers * layer + self.hidden * self.vocabulary

    def attention_operations(self, length: int) -> int:
        """Of a token, forward and backward, causal in documents of `length`: 3 times 2 products over half of it."""
        return self.layers * 6 * self.hidden * (length + 1)


@dataclass(frozen=True, slots=True)
class OptShape(Shape):
    """OPT keeps its vocabulary in vectors of `embedding`, two of its own products lead from and to them."""

    embedding: int = 512

    def config(self) -> OPTConfig:
        sizes: dict[str, Any] = {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "ffn_dim": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": 2048,
            "word_embed_proj_dim": self.embedding,
            "do_layer_norm_before": False,
            "init_std": 0.05,
        }
        return OPTConfig(**sizes)

    @property
    def matmul_parameters(self) -> int:
        layer = 4 * self.hidden * self.hidden + 2 * self.hidden * self.intermediate
        return self.layers * layer + self.embedding * (self.vocabulary + 2 * self.hidden)


def adapter(rank: int, layers: tuple[int, ...] = ()) -> AdapterSpec:
    """`layers`: those that hold adapters; none named: all."""
    return AdapterSpec("lora", rank, ALPHA, TARGETS, layers)


@functools.lru_cache(maxsize=2)  # the dtype of the run, and float32 for the published loop
def _drawn(shape: Shape, dtype: torch.dtype, device: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(shape.config(), attn_implementation="sdpa")
    return model.to(device=torch.device(device), dtype=dtype).requires_grad_(False).eval()


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("hidden-128", 128, 4, 4, 4, 352, 2048),
        Shape("hidden-256", 256, 4, 4, 4, 704, 4096),
        Shape("smollm2-135m", 576, 30, 9, 3, 1536, 49152, small=False),
        Shape("opt-350m-like", 1024, 24, 16, 16, 2736, 50272, small=False),
        OptShape("opt-350m", 1024, 24, 16, 16, 4096, 50272, small=False),
    )
}
