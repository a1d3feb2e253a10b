"""Through a whole model: tau = 0 is a plain LoRA training for each task, tau = infinity one tied adapter for all.

The oracle is PEFT and torch.optim.Adam, one document at a time, on the documents and weights that the sampler gives.
"""

from __future__ import annotations

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import plain_nats
from tiny_runs import Tiny

from bora_trainer.data.samplers import make_sampler
from bora_trainer.engine import Engine
from bora_trainer.gradients import Gradients
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.objective import loss_scale
from bora_trainer.training_state import TrainingState

STEPS, RATE = 6, 1e-2


def peft_model(
    tiny: Tiny, start: dict[tuple[str, str], torch.Tensor]
) -> tuple[torch.nn.Module, dict[tuple[str, str], torch.nn.Parameter]]:
    """The base model wrapped by PEFT, adapters at `start`, and its parameters by (module, tensor)."""
    config = LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(tiny.loaded().model, config)
    named: dict[tuple[str, str], torch.nn.Parameter] = {
        (module, name): model.get_parameter(f"base_model.model.{module}.{name}.default.weight")
        for module, name in start
    }
    for key, tensor in start.items():
        named[key].data = tensor.clone()
    return model, named


def peft_training(tiny: Tiny, start, tasks: list[int], spec):
    """Trains one adapter on these tasks' batches; returns its tensors after STEPS."""
    dataset = tiny.dataset()
    model, named = peft_model(tiny, start)
    sampler = make_sampler(dataset.tasks, spec.train, seed=0)
    scale = loss_scale(len(dataset.tasks), sum(task.scored("train") for task in dataset.tasks))
    adam = torch.optim.Adam(named.values(), lr=RATE, betas=(0.9, 0.999), eps=spec.train.epsilon)
    for step in range(STEPS):
        adam.zero_grad()
        drawn = sampler(step)
        for task in tasks:
            for document in drawn[task].documents:
                (plain_nats(model, document) * (drawn[task].weight * scale)).backward()
        adam.step()
    return {key: parameter.detach() for key, parameter in named.items()}


@pytest.mark.parametrize("tau", [0.0, math.inf])
def test_limits_through_a_whole_model_are_plain_lora_trainings(tiny, tau):
    # epsilon damps weights whose gradient is mere rounding, which Adam would otherwise blow up to a whole step
    spec = tiny.spec([tau], learning_rate=RATE, epsilon=1e-6)
    dataset = tiny.dataset()
    engine = Engine(tiny.loaded(), spec.adapter)
    state = TrainingState(spec, spec.fits, engine, dataset)
    gradients = Gradients(engine, dataset.tasks, spec.train, MicroBatchSize(4, 64), lambda: False)
    for step in range(1, STEPS + 1):
        gradients(state.optimiser, [0], step)
        state.optimiser.step(RATE)
    tasks = range(len(dataset.tasks))
    start = engine.layout.tensors(engine.initial(0))
    tied = peft_training(tiny, start, list(tasks), spec) if tau else {}
    for task in tasks:
        expected = tied or peft_training(tiny, start, [task], spec)
        for key, found in engine.layout.tensors(state.optimiser.rows_GP[task]).items():
            moved = float((found - start[key]).abs().max())
            assert moved > RATE
            torch.testing.assert_close(found, expected[key], rtol=0, atol=2e-3 * moved)
