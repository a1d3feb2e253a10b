"""The default example as a run of the trainer: what packages/contracts/src/to-proto.ts makes of the same file.

Defaults are read from the experiment's published schema, where the control plane has written its own. Only what the
example uses is read: a model that comes in a package, and Shakespeare's speakers.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Sequence
from typing import Any

import yaml

from bench.machine import ROOT
from bora.trainer.v1 import run_pb2
from bora_trainer.spec import RunSpec

EXAMPLE = ROOT / "examples" / "shakespeare.yaml"
_SCHEMA = ROOT / "docs" / "experiment.schema.json"


def experiment() -> dict[str, Any]:
    """The example's file with every default filled in."""
    schema = json.loads(_SCHEMA.read_text("utf-8"))
    return _with_defaults(yaml.safe_load(EXAMPLE.read_text("utf-8")), schema)


def run_spec(spec: dict[str, Any], taus: Sequence[float]) -> RunSpec:
    """One fit for each tau, with the example's first seed; the base model alone is not scored."""
    seed = spec["train"]["seeds"][0]
    message = run_pb2.RunSpec(
        run_id=str(uuid.uuid4()),
        model=run_pb2.ModelSource(package=spec["model"]["package"], dtype=_number("DTYPE", spec["model"]["dtype"])),
        data=_data(spec["data"]),
        adapter=run_pb2.AdapterSpec(
            family=_number("ADAPTER_FAMILY", spec["adapter"]["family"]),
            rank=spec["adapter"]["rank"],
            alpha=spec["adapter"]["alpha"],
            targets=spec["adapter"]["targets"],
            layers=spec["adapter"].get("layers", ()),
        ),
        prior=run_pb2.PriorSpec(family=_number("PRIOR_FAMILY", spec["prior"]["family"]), tau0=spec["prior"]["tau0"]),
        train=_train(spec["train"]),
        fits=[run_pb2.Fit(trial_id=f"fit-{place}", tau=tau, seed=seed) for place, tau in enumerate(taus)],
        evaluate_base=False,
    )
    return RunSpec.from_proto(message)


def _data(spec: dict[str, Any]) -> run_pb2.DataSpec:
    train, validation, test = spec["split"]["fractions"]
    return run_pb2.DataSpec(
        shakespeare=run_pb2.ShakespeareSource(min_characters=spec["minCharacters"]),
        tasks=run_pb2.TaskSelection(
            top=spec["tasks"]["top"],
            min_documents=spec["tasks"]["minDocuments"],
            train_documents=spec["tasks"].get("trainDocuments", ()),
        ),
        split=run_pb2.SplitSpec(
            by=_number("SPLIT_BY", spec["split"]["by"]),
            seed=spec["split"]["seed"],
            train=train,
            validation=validation,
            test=test,
        ),
        max_tokens=spec["maxTokens"],
    )


def _train(spec: dict[str, Any]) -> run_pb2.TrainSpec:
    beta1, beta2 = spec["betas"]
    return run_pb2.TrainSpec(
        max_steps=spec["maxSteps"],
        patience=spec["patience"],
        evaluate_every=spec["evaluateEvery"],
        checkpoint_every=spec.get("checkpointEvery", spec["evaluateEvery"]),
        sampler=_number("SAMPLER", spec["sampler"]),
        tokens_per_task=spec["tokensPerTask"],
        documents_per_task=spec.get("documentsPerTask", 0),
        validation_documents=spec["validationDocuments"],
        learning_rate=spec["learningRate"],
        warmup_steps=spec["warmupSteps"],
        decay=_number("LEARNING_RATE_DECAY", spec["decay"]),
        beta1=beta1,
        beta2=beta2,
        epsilon=spec["epsilon"],
    )


def _number(enum: str, word: str) -> Any:
    """Of the enum's value with this word: DTYPE_AUTO of "auto"."""
    return getattr(run_pb2, f"{enum}_{word.upper().replace('-', '_')}")


def _with_defaults(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """`value` with what it leaves out. YAML 1.1 reads 2e-3 as a word: numbers that are words become numbers."""
    if "oneOf" in schema:
        schema = next(one for one in schema["oneOf"] if one["properties"]["source"]["const"] == value["source"])
    filled = dict(value)
    for name, field in schema["properties"].items():
        if name not in filled and "default" in field:
            filled[name] = copy.deepcopy(field["default"])
        if isinstance(filled.get(name), dict):
            filled[name] = _with_defaults(filled[name], field)
        elif field.get("type") == "number" and name in filled:
            filled[name] = float(filled[name])
    return filled
