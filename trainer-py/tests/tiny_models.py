"""Tiny random models of each family, PEFT twins of a row, and random documents. No downloads, seconds at most."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.gemma2 import Gemma2Config
from transformers.models.gpt2 import GPT2Config
from transformers.models.llama import LlamaConfig
from transformers.models.opt import OPTConfig
from transformers.models.qwen2 import Qwen2Config
from transformers.models.qwen3 import Qwen3Config

from bora_trainer.data.documents import Document
from bora_trainer.engine import Engine
from bora_trainer.models import LoadedModel
from bora_trainer.spec import AdapterSpec

VOCABULARY = 61
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.15,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_OPT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "word_embed_proj_dim": 16,
    "ffn_dim": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "init_std": 0.1,
    "do_layer_norm_before": False,
}
CONFIGS: dict[str, Any] = {
    "llama-tied": LlamaConfig(**_SIZES, tie_word_embeddings=True),
    "llama-untied": LlamaConfig(**_SIZES, tie_word_embeddings=False),
    "qwen2": Qwen2Config(**_SIZES),
    "qwen3": Qwen3Config(**_SIZES),
    "opt": OPTConfig(**_OPT),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=64, initializer_range=0.15),
    "gemma2": Gemma2Config(**_SIZES, final_logit_softcapping=3.0, attn_logit_softcapping=5.0, sliding_window=64),
}
TARGETS: dict[str, tuple[str, ...]] = {name: ("q_proj", "v_proj") for name in CONFIGS} | {
    "gpt2": ("c_attn", "c_fc"),
    "opt": ("q_proj", "v_proj", "fc1"),
    "llama-untied": ("q_proj", "o_proj", "down_proj"),
}
FAMILIES = tuple(CONFIGS)


def tiny_model(family: str, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    attention = "eager" if family == "gemma2" else "sdpa"
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[family]), attn_implementation=attention)
    return model.requires_grad_(False).eval()


def loaded(model: PreTrainedModel) -> LoadedModel:
    attention = model.config._attn_implementation
    return LoadedModel(model, None, "tiny", "0" * 64, model.dtype, attention)  # pyright: ignore[reportArgumentType]


def adapter(family: str, kind: str = "lora", rank: int = 3, layers: tuple[int, ...] = ()) -> AdapterSpec:
    return AdapterSpec(kind, rank, 5.0, TARGETS[family], layers)  # pyright: ignore[reportArgumentType]


def random_rows(engine: Engine, rows: int, seed: int = 1) -> Tensor:
    """[G, P] with every weight away from 0, the padding excepted."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.zeros(rows, engine.layout.weights)
    values[:, : engine.layout.parameters] = torch.randn(rows, engine.layout.parameters, generator=generator) * 0.1
    return values.to(engine.loaded.dtype)


def documents(lengths: Sequence[int], task: int = 0, seed: int = 2, scored_from: int = 1) -> list[Document]:
    generator = torch.Generator().manual_seed(seed + 1000 * task)
    drawn = [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
    return [
        Document(task, f"{task}-{i}", "", tuple(tokens), scored_from, len(tokens)) for i, tokens in enumerate(drawn)
    ]


def peft_twin(
    model: PreTrainedModel, engine: Engine, row_P: Tensor
) -> tuple[torch.nn.Module, Mapping[tuple[str, str], Tensor]]:
    """`model` (not the engine's own) wrapped by PEFT with one row's weights, and its parameters by (module, tensor)."""
    spec = engine.lora.spec
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=int(spec.alpha),
        target_modules=list(spec.targets),
        use_rslora=spec.family == "rslora",
        layers_to_transform=list(spec.layers) or None,
        fan_in_fan_out=engine.lora.transposed,
        task_type="CAUSAL_LM",
    )
    twin = get_peft_model(model, config)
    named = {
        (slot.module, slot.name): twin.get_submodule(
            f"base_model.model.{slot.module}.{slot.name}.default"
        ).get_parameter("weight")
        for slot in engine.layout.slots
    }
    assert len(named) == sum(parameter.requires_grad for parameter in twin.parameters()), "PEFT adapts other modules"
    for key, tensor in engine.layout.tensors(row_P).items():
        named[key].data = tensor.detach().clone()
    return twin, named


def plain_nats(model: torch.nn.Module, document: Document) -> Tensor:
    """Nats of one document by transformers alone: one sequence, no packing, no padding."""
    tokens = torch.tensor(document.tokens)
    logits = (
        model(input_ids=tokens[None]).logits[0].to(torch.promote_types(torch.float32, next(model.parameters()).dtype))
    )
    places = torch.arange(document.scored_from, len(tokens))
    return -logits.log_softmax(-1)[places - 1, tokens[places]].sum()
