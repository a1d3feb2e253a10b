"""Whole runs in seconds: a random Llama with a word tokenizer, a table of sentences whose tasks differ, and a spec."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bora.trainer.v1.event_pb2 import Event
from bora_trainer.data import Dataset, load_dataset
from bora_trainer.models import LoadedModel, load_model, load_tokenizer
from bora_trainer.spec import (
    AdapterSpec,
    Columns,
    DataSpec,
    Execution,
    Fit,
    ModelSource,
    PriorSpec,
    RunSpec,
    SplitSpec,
    TableSource,
    TaskSelection,
    TrainSpec,
)
from bora_trainer.state_files import StateFolder
from bora_trainer.train import train

WORDS = [f"word{i}" for i in range(40)]
DOCUMENTS = {"Anna": 40, "Boris": 24, "Clara": 14}
TRAIN = TrainSpec(
    max_steps=12, patience=20, evaluate_every=3, checkpoint_every=3, sampler="groups", tokens_per_task=24,
    documents_per_task=0, validation_documents=4, learning_rate=2e-2, warmup_steps=0, decay="constant",
    beta1=0.9, beta2=0.999, epsilon=1e-12,
)  # fmt: skip


def write_model(folder: Path) -> None:
    """A Llama of 2 layers with random weights, and the tokenizer that splits at spaces."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=32, initializer_range=0.2, pad_token_id=0, bos_token_id=None, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def write_table(file: Path) -> None:
    """Each task walks through the words with a stride of its own, with noise: what helps one helps another partly."""
    draw = random.Random(0)
    with file.open("w", newline="", encoding="utf8") as target:
        rows = csv.writer(target)
        rows.writerow(["speaker", "speech"])
        for stride, (task, count) in enumerate(DOCUMENTS.items(), start=1):
            for _ in range(count):
                places = [draw.randrange(len(WORDS))]
                for _ in range(draw.randrange(4, 11)):
                    step = stride if draw.random() < 0.8 else draw.randrange(len(WORDS))
                    places.append((places[-1] + step) % len(WORDS))
                rows.writerow([task, " ".join(WORDS[place] for place in places)])


@dataclass(frozen=True)
class Tiny:
    """Where the model and the table lie, and the spec that trains on them."""

    folder: Path

    def spec(
        self, taus: Sequence[float], *, seeds: Sequence[int] = (0,), evaluate_base: bool = True, **train
    ) -> RunSpec:
        return RunSpec(
            run_id="6d4d2f8a-4f2e-4f53-9d0a-0a4a2f7f4c11",
            model=ModelSource("path", str(self.folder / "model"), False, "float32"),
            data=DataSpec(
                TableSource("csv", str(self.folder / "table.csv"), Columns("speaker", "speech", "", "", "", "")),
                TaskSelection("all", 0, (), 0, ()),
                SplitSpec("seed", 0, 0.6, 0.2, 0.2),
                max_tokens=12,
            ),
            adapter=AdapterSpec("lora", 4, 4.0, ("q_proj", "v_proj"), ()),
            prior=PriorSpec("gaussian", 0.0),
            train=replace(TRAIN, **train),
            fits=tuple(Fit(f"tau{tau:g}-seed{seed}", tau, seed) for tau in taus for seed in seeds),
            evaluate_base=evaluate_base,
            execution=Execution("float32", "asked for", 1, 4, "cpu", prefix_cache=True),
        )

    def loaded(self) -> LoadedModel:
        return load_model(self.spec([0.0]).model, torch.float32, "cpu")

    def dataset(self) -> Dataset:
        spec = self.spec([0.0])
        return load_dataset(spec.data, load_tokenizer(spec.model))

    def train(
        self,
        spec: RunSpec,
        folder: Path,
        resume_step: int = 0,
        stop: Callable[[], bool] = lambda: False,
        states: StateFolder | None = None,
    ) -> Iterator[Event]:
        return train(spec, self.loaded(), self.dataset(), folder, resume_step, stop, states)


def bodies(events: Sequence[Event], kind: str, trial_id: str | None = None) -> list:
    """The bodies of one kind, of one trial if it is named."""
    wanted = (event for event in events if trial_id is None or event.trial_id == trial_id)
    return [getattr(event, kind) for event in wanted if event.WhichOneof("body") == kind]


def lines(run_folder: Path, trial_id: str) -> list[dict]:
    file = run_folder / "trials" / trial_id / "documents.jsonl"
    return [json.loads(line) for line in file.read_text("utf8").splitlines()]


def macro(evaluated) -> float:
    return math.fsum(task.nats / task.tokens for task in evaluated.tasks) / len(evaluated.tasks)


def numbers(events: Sequence[Event]) -> list[Event]:
    """What must repeat bit for bit: all but seconds and memory, and windows, whose ends depend on the clock.

    Checkpoints come last: when their files are there depends on the disk.
    """
    kept = []
    for event in events:
        if event.WhichOneof("body") in ("evaluated", "trial_done", "checkpoint_saved"):
            copy = Event.FromString(event.SerializeToString())
            if copy.HasField("evaluated"):
                copy.evaluated.ClearField("seconds")
            kept.append(copy)
    return sorted(kept, key=lambda event: event.HasField("checkpoint_saved"))
