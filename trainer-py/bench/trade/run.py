"""One run of the study, in a process of its own: reads a request on the command line, prints what it found as JSON.

The trainer's own `train` does everything; here its events meet a clock. Seconds count from when model and data are
loaded: attaching the adapters, filling the cache from empty, steps, evaluations and checkpoints are in them.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.trade.configurations import CONFIGURATIONS
from bench.trade.example import experiment, run_spec
from bora.trainer.v1 import event_pb2
from bora_trainer import device
from bora_trainer.data import Dataset, load_dataset
from bora_trainer.models import LoadedModel, load_model, load_tokenizer, model_facts
from bora_trainer.objective import macro_nats_per_token
from bora_trainer.spec import Dtype, RunSpec
from bora_trainer.state_files import StateFolder
from bora_trainer.train import train


@dataclass(frozen=True, slots=True)
class Request:
    """`taus` are words, since JSON has no infinity. `steps`, `minutes`: None where the example's own limit holds."""

    configuration: str
    learning_rate: float
    taus: tuple[str, ...]
    dtype: Dtype
    steps: int | None = None
    minutes: float | None = None

    @property
    def name(self) -> str:
        return f"{self.configuration} lr {self.learning_rate:g}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, words: str) -> Request:
        said = json.loads(words)
        return cls(**said | {"taus": tuple(said["taus"])})


@dataclass(slots=True)
class Record:
    """What the events of a run told, and when they came. `curves[tau]`: (seconds, step, macro nats)."""

    taus: tuple[str, ...]
    curves: dict[str, list[tuple[float, int, float]]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.curves = {tau: [] for tau in self.taus}
        self.facts = {"cache": None, "training": {"tokens": 0, "seconds": 0.0}}

    def read(self, event: event_pb2.Event, seconds: float) -> None:
        tau = self.taus[int(event.trial_id.removeprefix("fit-"))] if event.trial_id else ""
        match event.WhichOneof("body"):
            case "run_started":
                self.facts["parameters_per_row"] = event.run_started.parameters_per_row
                self.facts["rows"] = event.run_started.rows
                self.facts["rows_per_micro_batch"] = event.run_started.execution.rows_per_micro_batch
                self.facts["prefix_cache"] = event.run_started.prefix_cache
            case "prefix_cache_filled":
                filled = event.prefix_cache_filled
                self.facts["cache"] = {"tokens": filled.tokens, "seconds": filled.seconds}
            case "steps_done":
                self.facts["training"]["tokens"] += event.steps_done.real
                self.facts["training"]["seconds"] += event.steps_done.seconds
            case "evaluated" if event.evaluated.seconds > 0:  # those of the end carry no seconds
                nats = macro_nats_per_token((task.nats, task.tokens) for task in event.evaluated.tasks)
                self.curves[tau].append((seconds, event.evaluated.step, nats))
            case "trial_done":
                limit = event.trial_done.ended == event_pb2.ENDED_LIMIT
                self.ended[tau] = "limit" if limit else "validation"
            case "trial_failed":
                self.ended[tau] = event.trial_failed.failure.code
            case "run_done":
                self.facts["peak_memory_bytes"] = event.run_done.peak_memory_bytes
            case "run_failed":
                self.ended |= {left: "minutes" for left in self.taus if left not in self.ended}

    def has_settled(self, patience: int) -> bool:
        """Whether validation of every tau has stopped improving, as the trainer sees it."""
        for tau, curve in self.curves.items():
            best = min(range(len(curve)), key=lambda place: curve[place][2], default=0)
            if tau not in self.ended and len(curve) - 1 - best >= patience:
                self.ended[tau] = "validation"
        return all(tau in self.ended for tau in self.taus)

    def to_json(self) -> dict[str, Any]:
        return {**self.facts, "curves": self.curves, "ended": self.ended}


def run(request: Request) -> dict[str, Any]:
    """The run as it stands in the file. Raises RuntimeError when hidden states should have been kept and were not."""
    spec, loaded, dataset = prepare(request)
    record = Record(request.taus)
    with tempfile.TemporaryDirectory() as folder:
        states = StateFolder(Path(folder) / "hidden-states", None)
        began = time.monotonic()

        def late() -> bool:
            """Past its minutes, or past its curve: what is scored after that is not drawn."""
            over = request.minutes is not None and time.monotonic() - began > 60 * request.minutes
            return over or record.has_settled(spec.train.patience)

        for event in train(spec, loaded, dataset, Path(folder) / "run", stop=late, state_folder=states):
            seconds = time.monotonic() - began
            record.read(event, seconds)
            _tell(event, seconds)
        seconds = time.monotonic() - began
    kept = record.facts["cache"] is not None
    if kept != bool(spec.adapter.layers) and "minutes" not in record.ended.values():
        raise RuntimeError(f"{request.name}: no hidden states were read: {record.facts['prefix_cache']}")
    return {"name": request.name, **asdict(request), **record.to_json(), "seconds": seconds}


def prepare(request: Request) -> tuple[RunSpec, LoadedModel, Dataset]:
    """As child.py prepares a run: data, execution, model; then the adapters that are asked for."""
    configuration = CONFIGURATIONS[request.configuration]
    spec = run_spec(experiment(), [float(tau) for tau in request.taus])
    dataset = load_dataset(spec.data, load_tokenizer(spec.model))
    execution = device.choose_execution(
        request.dtype, None, rows=len(spec.fits) * len(dataset.tasks), tokens_per_row=spec.train.tokens_per_task,
        activation_bytes_per_token=model_facts(spec.model, spec.adapter).activation_bytes_per_token,
    )  # fmt: skip
    device.apply_threads(execution)
    loaded = load_model(spec.model, device.torch_dtype(execution.dtype), execution.device)
    layers = configuration.layers(loaded.model.config.get_text_config().num_hidden_layers)
    steps = spec.train.max_steps if request.steps is None else min(request.steps, spec.train.max_steps)
    return (
        replace(
            spec,
            adapter=replace(spec.adapter, layers=layers, targets=configuration.targets),
            train=replace(spec.train, learning_rate=request.learning_rate, max_steps=steps),
            execution=execution,
        ),
        loaded,
        dataset,
    )


def _tell(event: event_pb2.Event, seconds: float) -> None:
    match event.WhichOneof("body"):
        case "prefix_cache_filled":
            filled = event.prefix_cache_filled
            words = f"{filled.tokens} of {filled.of_tokens} tokens are in the cache"
        case "evaluated" if event.evaluated.seconds > 0:
            nats = macro_nats_per_token((task.nats, task.tokens) for task in event.evaluated.tasks)
            words = f"step {event.evaluated.step}, {event.trial_id}: {nats:.4f} nats, perplexity {math.exp(nats):.2f}"
        case _:
            return
    print(f"  {seconds:6.1f} s  {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(json.dumps(run(Request.from_json(sys.argv[1]))))
