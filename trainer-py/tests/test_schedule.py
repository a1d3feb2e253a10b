"""The learning rate by step, when fits end, and the numbers that decide it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import TRAIN

from bora_trainer.early_stopping import EarlyStopping
from bora_trainer.learning_rate import learning_rate
from bora_trainer.objective import loss_scale, macro_nats_per_token, negative_log_joint
from bora_trainer.prior import Gaussian, GroupLaplace

SPEC = replace(TRAIN, learning_rate=0.4, max_steps=100)


@pytest.mark.parametrize(
    ("decay", "warmup", "expected"),
    [
        ("constant", 0, {1: 0.4, 100: 0.4}),
        ("constant", 10, {1: 0.04, 5: 0.2, 10: 0.4, 100: 0.4}),
        ("linear", 0, {50: 0.2, 75: 0.1, 100: 0.0}),
        ("linear", 20, {10: 0.2, 20: 0.4, 60: 0.2, 100: 0.0}),
        ("cosine", 0, {25: 0.2 * (1 + math.sqrt(0.5)), 50: 0.2, 100: 0.0}),
        ("cosine", 100, {50: 0.2, 100: 0.4}),
    ],
)
def test_learning_rate_warms_up_and_decays(decay, warmup, expected):
    train = replace(SPEC, decay=decay, warmup_steps=warmup)
    for step, rate in expected.items():
        assert learning_rate(train, step) == pytest.approx(rate, abs=1e-15), step


def course(values: list[float], patience: int, last_step: int = 1000) -> EarlyStopping:
    stopping = EarlyStopping("trial")
    for step, value in enumerate(values, start=1):
        stopping.update(value, step, patience=patience, last_step=last_step)
        if stopping.ended:
            break
    return stopping


def test_a_fit_ends_after_patience_evaluations_without_a_better_one():
    stopping = course([3.0, 2.0, 2.5, 2.0, 1.0], patience=2)
    assert (stopping.ended, stopping.best_step, stopping.best_nats) == ("validation", 2, 2.0)


def test_patience_begins_anew_with_each_better_evaluation():
    stopping = course([3.0, 3.5, 2.0, 2.5, 1.9, 4.0, 4.0], patience=2)
    assert (stopping.ended, stopping.best_step, stopping.best_nats) == ("validation", 5, 1.9)


@pytest.mark.parametrize(("patience", "ended"), [(2, "validation"), (3, "limit")])
def test_at_the_last_step_patience_that_runs_out_counts_first(patience, ended):
    assert course([1.0, 2.0, 2.0], patience, last_step=3).ended == ended


def test_macro_nats_per_token_is_the_mean_over_tasks_not_over_tokens():
    assert macro_nats_per_token([(2.0, 1), (300.0, 100)]) == 2.5
    assert macro_nats_per_token([(2.0, 1), (0.0, 0)]) == 2.0
    assert math.isnan(macro_nats_per_token([(0.0, 0)]))
    assert math.isnan(macro_nats_per_token([(math.nan, 1), (1.0, 1)]))


def test_loss_scale_makes_gradients_those_of_a_mean_token():
    assert loss_scale(6, 12_000) == 6 / 12_000


def test_negative_log_joint_adds_nats_and_prior():
    nats_D, offset_DP = torch.tensor([10.0, 20.0]), torch.tensor([[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]])
    shift_P = torch.tensor([1.0, 0.0, 0.0])
    assert negative_log_joint(nats_D, Gaussian(), offset_DP, 2.0, shift_P) == 30 + 26
    assert negative_log_joint(nats_D, Gaussian(), offset_DP, 2.0, shift_P, tau0=4.0) == 30 + 26 + 2
    assert negative_log_joint(nats_D, GroupLaplace([2, 1]), offset_DP, 2.0, shift_P) == 30 + 2 * (3 + 4 + 1)
    assert negative_log_joint(nats_D, Gaussian(), offset_DP, 0.0, shift_P) == 30
    assert negative_log_joint(nats_D, Gaussian(), offset_DP, math.inf, shift_P) == math.inf
    assert negative_log_joint(nats_D, Gaussian(), torch.zeros(2, 3), math.inf, shift_P) == 30
