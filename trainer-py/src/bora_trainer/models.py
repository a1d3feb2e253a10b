"""Loads the frozen base model: its weights, its tokenizer, its name for PEFT and its hash.

`resolve` finds a local folder in the format of transformers (see model_files.py), the rest reads that folder. Weights
come from safetensors alone, code never comes with a model, nothing is fetched unless `download` is true.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from bora_trainer.adapters.lora import Lora
from bora_trainer.data.documents import SourceFile
from bora_trainer.errors import TrainerError
from bora_trainer.frozen_prefix import find_cut
from bora_trainer.model_files import ModelFolder, repair, resolve
from bora_trainer.spec import AdapterSpec, ModelSource

Attention = Literal["sdpa", "eager"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A frozen causal language model in evaluation mode.

    `name` is PEFT's base_model_name_or_path: the hub id, or the folder. `hash` is the sha256 over configuration,
    weights and tokenizer.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    hash: str
    dtype: torch.dtype
    attention: Attention
    files: tuple[SourceFile, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What can be known of a model without reading its weights (but for their hash, kept between calls)."""

    name: str
    hash: str
    parameters: int  # of the base, tied weights once
    parameters_per_row: int
    weights_per_row: int  # with the padding of a row
    adapted_modules: int
    activation_bytes_per_token: int  # kept for the backward in float32, an estimate
    files: tuple[SourceFile, ...]
    hidden_size: int
    layers_below: int  # decoder layers below the lowest adapted one


def load_model(source: ModelSource, dtype: torch.dtype, device: torch.device | str) -> LoadedModel:
    """Loads and freezes the base in `dtype`.

    Raises `TrainerError` with model_missing, model_not_safetensors, model_damaged or model_unsupported.
    """
    folder = resolve(source)
    try:
        model = _read_weights(folder, dtype)
    except TrainerError as damaged:
        if damaged.code != "model_damaged":
            raise
        folder = repair(source, damaged)
        model = _read_weights(folder, dtype)
    model.requires_grad_(False).eval()
    return LoadedModel(model.to(device), _tokenizer(folder), folder.name, folder.hash, dtype, _attention(model.config))  # pyright: ignore[reportArgumentType]


def stored_dtype(source: ModelSource) -> torch.dtype:
    """What the base's weights are stored in, as its configuration says; float32 where it says nothing."""
    said = getattr(_config(resolve(source)), "dtype", None)
    return said if isinstance(said, torch.dtype) else torch.float32


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """The model's own tokenizer. Raises as `load_model`."""
    return _tokenizer(resolve(source))


def model_facts(source: ModelSource, adapter: AdapterSpec) -> ModelFacts:
    """Sizes and hash, from the configuration alone. Raises as `load_model`, and unmatched_module as the engine."""
    folder = resolve(source)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(_config(folder), trust_remote_code=False)
    lora = Lora.of(model, adapter)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelFacts(
        folder.name,
        folder.hash,
        parameters,
        lora.layout.parameters,
        lora.layout.weights,
        len(lora.modules),
        activation_bytes_per_token(model.config),
        _source_files(folder),
        model.config.get_text_config().hidden_size,
        cut.lowest if (cut := find_cut(lora.modules)) is not None else 0,
    )


def activation_bytes_per_token(config: PreTrainedConfig) -> int:
    """About 8 vectors of the hidden and 4 of the intermediate size a layer: a third above SmolLM2-135M's measured."""
    text = config.get_text_config()
    intermediate = getattr(text, "intermediate_size", None) or getattr(text, "ffn_dim", None) or 4 * text.hidden_size
    return text.num_hidden_layers * (8 * text.hidden_size + 4 * intermediate) * 4


def _source_files(folder: ModelFolder) -> tuple[SourceFile, ...]:
    facts = [(path, path.stat()) for path in folder.sources]
    return tuple(SourceFile(str(path), stat.st_size, stat.st_mtime_ns // 1_000_000) for path, stat in facts)


def _config(folder: ModelFolder) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise TrainerError(
            "model_unsupported",
            f"the configuration of {folder.name}: {_first_line(error)}",
            "only model families of the installed transformers are supported",
        ) from error
    if getattr(config, "quantization_config", None) is not None:
        raise TrainerError("model_unsupported", f"{folder.name} has quantised weights", "choose the unquantised model")
    return config


def _read_weights(folder: ModelFolder, dtype: torch.dtype) -> PreTrainedModel:
    config = _config(folder)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            folder.path,
            config=config,
            dtype=dtype,
            attn_implementation=_attention(config),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (ValueError, KeyError) as error:
        raise TrainerError(
            "model_unsupported",
            f"{folder.name}: {_first_line(error)}",
            "choose a causal language model of the installed transformers",
        ) from error
    except Exception as error:  # safetensors raises a class of its own for a damaged file, torch RuntimeError
        raise TrainerError(
            "model_damaged",
            f"the weights of {folder.name} cannot be read: {_first_line(error)}",
            f"fetch or copy the model again into {folder.path}",
        ) from error
    # transformers fills weights that are not in the file with random numbers and only warns
    absent = sorted(report["missing_keys"]) + [str(key) for key in report.get("mismatched_keys", ())]
    if absent:
        raise TrainerError(
            "model_damaged",
            f"{folder.name} lacks {len(absent)} weights, first {absent[0]}",
            f"fetch or copy the model again into {folder.path}",
        )
    return cast(PreTrainedModel, model)


def _tokenizer(folder: ModelFolder) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise TrainerError(
            "model_unsupported",
            f"the tokenizer of {folder.name} cannot be read: {_first_line(error)}",
            "the model's folder must hold its tokenizer, best as tokenizer.json",
        ) from error


def _attention(config: PreTrainedConfig) -> Attention:
    """Gemma 2 caps its attention logits, which sdpa cannot."""
    return "eager" if getattr(config, "attn_logit_softcapping", None) is not None else "sdpa"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
