"""Finds how a model turns its last hidden states into logits, and checks it."""

import torch
from transformers import PreTrainedModel

from bora_trainer.cross_entropy import OutputEmbedding
from bora_trainer.errors import TrainerError

_PROBE_TOKENS = 4
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2}


@torch.no_grad()
def find_output_embedding(model: PreTrainedModel) -> OutputEmbedding:
    """The frozen output embedding of `model`, tied or not.

    The engine computes logits only where a token is scored, so it needs this map by itself. Some families scale their
    logits in ways of their own; a forward of four tokens tells. Raises `TrainerError("model_unsupported")`.
    """
    layer = model.get_output_embeddings()
    if not isinstance(layer, torch.nn.Linear):
        raise TrainerError(
            "model_unsupported",
            f"{type(model).__name__} has no linear output embedding",
            "choose a causal language model",
        )
    found = OutputEmbedding(layer.weight, layer.bias, getattr(model.config, "final_logit_softcapping", None))
    tokens = torch.arange(_PROBE_TOKENS, device=layer.weight.device)[None] % layer.weight.shape[0]
    expected = model(input_ids=tokens, use_cache=False).logits[0]
    hidden = model.base_model(input_ids=tokens, use_cache=False)[0][0]
    error = (found.logits(hidden) - expected).abs().max().item()
    bound = _TOLERANCE.get(layer.weight.dtype, 1e-2) * max(1.0, expected.abs().max().item())
    if not error <= bound:
        raise TrainerError(
            "model_unsupported",
            f"logits of {type(model).__name__} are {error:.3g} off those of its output embedding",
            "this family scales its logits in a way that is not supported",
        )
    return found
