"""Turns a GGUF file into a folder that plain transformers reads. It takes long, so it is done once."""

import os
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

from bora_trainer.errors import TrainerError


def dequantise(gguf: Path, folder: Path) -> None:
    """Writes config, tokenizer and float32 weights. The quantised values are exact in float32, not in bfloat16.

    Raises `TrainerError("model_unsupported")` for a family whose GGUF files transformers cannot read.
    """
    place, name = str(gguf.parent), gguf.name
    try:
        model = AutoModelForCausalLM.from_pretrained(
            place,
            gguf_file=name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name, local_files_only=True)
    except (ValueError, KeyError, ImportError, NotImplementedError) as error:
        raise TrainerError(
            "model_unsupported", f"{gguf.name} cannot be read: {error}", "choose a model with safetensors weights"
        ) from error
    _dense(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _dense(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a model that forgets that it was quantised: transformers refuses to save the other."""
    config = model.config.from_dict({k: v for k, v in model.config.to_dict().items() if k != "quantization_config"})
    with torch.device("meta"):
        dense = type(model)(config)
    dense.load_state_dict(model.state_dict(), strict=True, assign=True)
    dense.tie_weights()
    return dense
