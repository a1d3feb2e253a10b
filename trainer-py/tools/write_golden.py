"""Writes proto/golden: messages as bytes and as JSON that both languages must read alike.

One Event for each body, a RunSpec that reaches every field once and has tau = infinity. A difference after a change of
the contract shows up in review as a change of these files.
"""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bora.trainer.v1 import event_pb2, run_pb2

GOLDEN = Path(__file__).resolve().parent.parent.parent / "proto" / "golden"
RUN_ID = "6f2c1f0e-8a1f-4a7e-9d55-0a4f6a6f1c11"
EXECUTION = run_pb2.Execution(
    dtype=run_pb2.DTYPE_FLOAT32,
    dtype_reason="the processor has no native bfloat16",
    threads=2,
    rows_per_micro_batch=16,
    device="cpu",
    evaluation_tokens=1024,
    prefix_cache=True,
    compile=True,
    cuda_graph=True,
)
ARTIFACT = event_pb2.Artifact(path="trials/0a1b/manifest.json", size=1234, sha256="ab" * 32)
FAILURE = event_pb2.Failure(
    code="diverged", domain=event_pb2.DOMAIN_USER, message="tau inf: gradients are not finite", hint="lower the rate"
)


def messages() -> Iterator[tuple[str, Message]]:
    """Name and message of every golden file."""
    yield "run_spec", run_spec()
    for seq, (trial_id, body) in enumerate(bodies(), start=1):
        event = event_pb2.Event(
            run_id=RUN_ID, seq=seq, attempt=2, trial_id=trial_id, at=Timestamp(seconds=1_700_000_000)
        )
        field = next(f for f in event.DESCRIPTOR.oneofs_by_name["body"].fields if f.message_type == body.DESCRIPTOR)
        getattr(event, field.name).CopyFrom(body)
        yield f"event_{field.name}", event


def bodies() -> Iterator[tuple[str, Message]]:
    yield (
        "",
        event_pb2.RunStarted(
            execution=EXECUTION,
            step=50,
            rows=30,
            parameters_per_row=921_600,
            steps_per_epoch=17,
            versions={"bora": "0.1.0", "torch": "2.13.0"},
            prefix_cache="hidden states below layer 22 are kept: 7000 tokens, 16128000 bytes",
        ),
    )
    fits = [event_pb2.FitProgress(trial_id="0a1b", nats_per_token=4.25)]
    yield (
        "",
        event_pb2.StepsDone(
            step=51, steps=1, tokens=5_000_000_000, seconds=1.5, fits=fits, real=6_000_000_000, padded=7_000_000_000
        ),
    )
    yield (
        "0a1b",
        event_pb2.Evaluated(
            scored=event_pb2.SCORED_PRIOR_MEAN,
            split=event_pb2.SPLIT_TEST,
            step=50,
            tasks=[event_pb2.TaskNats(task=5, nats=1234.5, tokens=300)],
            best=True,
            complete=True,
            seconds=2.5,
        ),
    )
    yield "", event_pb2.CheckpointSaved(step=50, artifact=ARTIFACT)
    yield (
        "0a1b",
        event_pb2.TrialDone(
            steps=400,
            best_step=325,
            ended=event_pb2.ENDED_VALIDATION,
            validation_nats_per_token=4.5,
            manifest=ARTIFACT,
            float32_check=event_pb2.Float32Check(
                nats_per_token=4.75, float32_nats_per_token=4.5, largest_relative_difference=0.0625
            ),
        ),
    )
    yield "0a1b", event_pb2.TrialFailed(failure=FAILURE, step=3)
    yield "", event_pb2.RunDone(manifest=ARTIFACT, seconds=600.25, peak_memory_bytes=6_442_450_944)
    yield "", event_pb2.RunFailed(failure=FAILURE, drained=True)
    words = "DefaultCPUAllocator: can't allocate memory"
    yield "", event_pb2.MicroBatchHalved(step=51, rows_per_micro_batch=8, evaluation_tokens=2048, message=words)
    yield "", event_pb2.PrefixCacheFilled(tokens=5_000_000_000, of_tokens=7_000_000_000, seconds=2.5)


def run_spec() -> run_pb2.RunSpec:
    columns = run_pb2.Columns(task="speaker", prompt="question", completion="answer", id="id", date="date")
    data = run_pb2.DataSpec(
        table=run_pb2.TableSource(format=run_pb2.TABLE_FORMAT_PARQUET, path="data/årstal.parquet", columns=columns),
        tasks=run_pb2.TaskSelection(
            names=run_pb2.Names(names=["Ærlig", "b"]), min_documents=10, train_documents=[9, 6]
        ),
        split=run_pb2.SplitSpec(by=run_pb2.SPLIT_BY_DATE, seed=7, train=0.6, validation=0.2, test=0.2),
        max_tokens=64,
    )
    train = run_pb2.TrainSpec(
        max_steps=400,
        patience=3,
        evaluate_every=25,
        checkpoint_every=50,
        sampler=run_pb2.SAMPLER_DOCUMENTS,
        tokens_per_task=96,
        documents_per_task=2,
        validation_documents=16,
        learning_rate=2e-3,
        warmup_steps=10,
        decay=run_pb2.LEARNING_RATE_DECAY_COSINE,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        best_step=run_pb2.BEST_STEP_TRIAL,
    )
    mean = run_pb2.PriorMean(path="adapters/θ", sha256="cd" * 32)
    taus = [0.0, 1e-3, 1e4, float("inf")]
    return run_pb2.RunSpec(
        run_id=RUN_ID,
        model=run_pb2.ModelSource(hub="facebook/opt-350m", download=True, dtype=run_pb2.DTYPE_AUTO),
        data=data,
        adapter=run_pb2.AdapterSpec(
            family=run_pb2.ADAPTER_FAMILY_RSLORA, rank=16, alpha=32.5, targets=["q_proj", "v_proj"], layers=[0, 23]
        ),
        prior=run_pb2.PriorSpec(family=run_pb2.PRIOR_FAMILY_GROUP_LAPLACE, tau0=0.5, mean=mean),
        train=train,
        fits=[run_pb2.Fit(trial_id=f"trial-{i}", tau=tau, seed=2**32 - 1) for i, tau in enumerate(taus)],
        evaluate_base=True,
        float32_check=True,
        execution=EXECUTION,
        engine=run_pb2.EngineSpec(compile=True, cuda_graph=True),
        evaluate=run_pb2.EvaluateSpec(
            adapters=[
                run_pb2.EvaluatedAdapter(path=f"adapters/{i}" * (i > 0), sha256="ef" * 32 * (i > 0)) for i in range(4)
            ]
        ),
    )


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, message in messages():
        (GOLDEN / f"{name}.binpb").write_bytes(message.SerializeToString(deterministic=True))
        text = json_format.MessageToJson(message, indent=2, sort_keys=True, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
