"""Mini-batches do not move the optimum: scheme A, and scheme B by documents and by groups, end where J is least."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import quadratic
import torch
from quadratic import Quadratic, cosine, optimiser
from tiny_runs import TRAIN

from bora_trainer.data import Document, TaskData
from bora_trainer.data.samplers import make_sampler

WEIGHTS = 4
SCHEMES = {
    "groups": replace(TRAIN, sampler="groups", tokens_per_task=40),
    "documents": replace(TRAIN, sampler="documents", documents_per_task=3),
    "uniform": replace(TRAIN, sampler="uniform", documents_per_task=3),
}


def documents_as_quadratics() -> tuple[list[TaskData], torch.Tensor, torch.Tensor]:
    """Documents of uneven length, each with a curvature (as its tokens) and an optimum of its own."""
    generator = torch.Generator().manual_seed(0)
    tasks, curvature, optimum = [], [], []
    for task, count in enumerate((30, 12, 5)):
        centre = torch.randn(WEIGHTS, generator=generator, dtype=torch.float64)
        documents = []
        for i in range(count):
            length = int(torch.randint(4, 30, (1,), generator=generator))
            documents.append(Document(task, str(len(curvature)), "", tuple(range(length)), 1, length))
            curvature.append(length * torch.rand(WEIGHTS, generator=generator, dtype=torch.float64).add(0.2))
            optimum.append(centre + 0.2 * torch.randn(WEIGHTS, generator=generator, dtype=torch.float64))
            assert documents[i].scored == length - 1
        tasks.append(TaskData(f"task{task}", f"task{task}", tuple(documents), (), (), 0, 0))
    return tasks, torch.stack(curvature), torch.stack(optimum)


def whole(tasks: list[TaskData], curvature_NP: torch.Tensor, optimum_NP: torch.Tensor) -> Quadratic:
    """The sum over each task's documents, up to a constant."""
    places = [[int(document.id) for document in task.train] for task in tasks]
    total_DP = torch.stack([curvature_NP[place].sum(dim=0) for place in places])
    pulled_DP = torch.stack([(curvature_NP[place] * optimum_NP[place]).sum(dim=0) for place in places])
    return Quadratic(torch.diag_embed(total_DP), pulled_DP / total_DP)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_optimum_does_not_move_with_the_batch_scheme(scheme):
    tasks, curvature_NP, optimum_NP = documents_as_quadratics()
    problem = whole(tasks, curvature_NP, optimum_NP)
    taus = (0.0, 30.0, 300.0, math.inf)
    adam = optimiser(problem, *taus)
    sampler, steps = make_sampler(tasks, SCHEMES[scheme], seed=0), 3000
    rate, late = cosine(0.02, steps), torch.zeros_like(adam.rows_KDP)
    for step in range(steps):
        gradient_KDP = adam.gradient_GP.view_as(adam.rows_KDP)
        for task, batch in enumerate(sampler(step)):
            for document in batch.documents:
                i = int(document.id)
                pull_KP = curvature_NP[i] * (adam.rows_KDP[:, task] - optimum_NP[i])
                gradient_KDP[:, task] += batch.weight * pull_KP
        adam.step(rate(step))
        late += adam.rows_KDP * (step >= steps * 0.75) / (steps * 0.25)
    start = problem.optimum_DP.abs().max()
    for fit, tau in enumerate(taus):
        assert float((late[fit] - problem.solution(tau)[0]).abs().max()) < 0.02 * start, tau


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weighted_batches_estimate_the_full_gradient_without_bias(scheme):
    """Their mean over many steps is the sum over all documents, for every task, lengths uneven."""
    tasks, curvature_NP, optimum_NP = documents_as_quadratics()
    problem = whole(tasks, curvature_NP, optimum_NP)
    at_DP = torch.zeros_like(problem.optimum_DP)
    sampler, steps = make_sampler(tasks, SCHEMES[scheme], seed=3), 4000
    draws_SDP = torch.zeros(steps, *at_DP.shape, dtype=torch.float64)
    for step in range(steps):
        for task, batch in enumerate(sampler(step)):
            for document in batch.documents:
                i = int(document.id)
                draws_SDP[step, task] += batch.weight * curvature_NP[i] * (at_DP[task] - optimum_NP[i])
    error_DP = draws_SDP.mean(dim=0) - problem.gradient(at_DP)
    noise_DP = draws_SDP.std(dim=0) / math.sqrt(steps)
    assert bool((error_DP.abs() <= 5 * noise_DP + 1e-9).all())
    assert bool((noise_DP < 0.05 * problem.gradient(at_DP).abs().max()).all())


def test_quadratic_oracle_agrees_with_the_hand_case():
    """The oracle itself: docs/method.md section 4."""
    rows_DP, mean_P = quadratic.hand_case().solution(1.0)
    assert rows_DP.flatten().tolist() == pytest.approx([1.2, 3.6]) and mean_P.item() == pytest.approx(2.4)
    assert quadratic.hand_case().solution(1.0, tau0=1.0)[1].item() == pytest.approx(4 / 3)
