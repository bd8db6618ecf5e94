"""Schedules against torch's schedulers, and clipping against torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from roofline.nn import Parameter
from roofline.optim import (
    SGD,
    Schedule,
    clip_grad_norm_,
    clip_grad_value_,
    constant,
    cosine,
    one_cycle,
    step_decay,
    warmup_cosine,
)
from torch.optim import lr_scheduler


def warm_then_cosine(optimizer: torch.optim.Optimizer) -> lr_scheduler.SequentialLR:
    warm = lr_scheduler.LinearLR(optimizer, start_factor=1 / 8, total_iters=7)
    rest = lr_scheduler.CosineAnnealingLR(optimizer, T_max=42, eta_min=0.05)
    return lr_scheduler.SequentialLR(optimizer, [warm, rest], milestones=[8])


CASES: list[tuple[Any, Any]] = [
    (constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    (step_decay(7, 0.5), lambda o: lr_scheduler.StepLR(o, 7, gamma=0.5)),
    (cosine(50), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=50)),
    (cosine(50, final=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=50, eta_min=0.05)),
    (warmup_cosine(8, 50, final=0.1), warm_then_cosine),
    (one_cycle(51), lambda o: lr_scheduler.OneCycleLR(o, 0.5, 51, cycle_momentum=False)),
    (
        one_cycle(60, rise=0.1, start=0.2, final=0.002),
        lambda o: lr_scheduler.OneCycleLR(
            o, 0.5, 60, pct_start=0.1, div_factor=5, final_div_factor=100, cycle_momentum=False
        ),
    ),
]


@pytest.mark.parametrize(("factor", "scheduler"), CASES)
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*", "ignore:.*epoch parameter.*")
def test_fifty_steps_equal_torchs(factor: Any, scheduler: Any) -> None:
    ours = SGD([Parameter(torch.ones(1))], lr=0.5)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    schedule, rival = Schedule(ours, factor), scheduler(theirs)
    for _ in range(50):
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-6, abs=1e-12)
        schedule.step()
        theirs.step()
        rival.step()


def test_every_group_keeps_its_own_rate() -> None:
    groups = [{"params": [Parameter(torch.ones(1))], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = SGD(groups)
    schedule = Schedule(optimizer, step_decay(1, 0.5))
    schedule.step()
    assert [group["lr"] for group in optimizer.groups] == [0.5, 0.05]


def test_a_schedule_resumes() -> None:
    schedule = Schedule(SGD([Parameter(torch.ones(1))], lr=0.5), cosine(10))
    for _ in range(4):
        schedule.step()
    fresh = SGD([Parameter(torch.ones(1))], lr=0.5)
    again = Schedule(fresh, cosine(10))
    again.load_state_dict(schedule.state_dict())
    assert fresh.lr == schedule.optimizer.lr


@pytest.mark.parametrize("factor", [cosine(5), warmup_cosine(2, 5), one_cycle(5)])
def test_a_schedule_that_has_ended_stays_at_its_end(factor: Any) -> None:
    assert factor(5) == pytest.approx(factor(50), abs=1e-12)


def test_impossible_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        warmup_cosine(10, 10)
    with pytest.raises(ValueError, match="steps is 0"):
        cosine(0)
    with pytest.raises(ValueError, match="every is 0"):
        step_decay(0)
    with pytest.raises(ValueError, match="rise"):
        one_cycle(3, rise=0.3)


def with_grads(grads: list[torch.Tensor]) -> list[Parameter]:
    parameters = [Parameter(torch.zeros_like(grad)) for grad in grads]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad.clone()
    return [*parameters, Parameter(torch.ones(2))]  # and one without a gradient


def rivals(grads: list[torch.Tensor]) -> list[torch.nn.Parameter]:
    parameters = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad.clone()
    return parameters


@pytest.mark.parametrize("limit", [0.1, 3.0, 100.0])
def test_clipping_equals_torchs(limit: float) -> None:
    torch.manual_seed(0)
    grads = [torch.randn(4, 3), torch.randn(5)]
    ours, theirs = with_grads(grads), rivals(grads)
    norm = clip_grad_norm_(ours, limit)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs, limit))
    for our, their in zip(ours, theirs, strict=False):
        torch.testing.assert_close(our.grad, their.grad)
    ours, theirs = with_grads(grads), rivals(grads)
    clip_grad_value_(ours, limit)
    torch.nn.utils.clip_grad_value_(theirs, limit)
    for our, their in zip(ours, theirs, strict=False):
        torch.testing.assert_close(our.grad, their.grad)


def test_clipping_scales_a_shared_gradient_once() -> None:
    shared = torch.ones(4)
    parameters = [Parameter(torch.zeros(4)), Parameter(torch.zeros(4))]
    for parameter in parameters:
        parameter.grad = shared
    norm = clip_grad_norm_(parameters, 0.5)
    assert norm == pytest.approx(8**0.5)
    for parameter in parameters:
        torch.testing.assert_close(parameter.grad, torch.full((4,), 0.5 / 8**0.5))


def test_an_infinite_gradient_is_clipped_as_by_torch() -> None:
    grads = [torch.tensor([1.0, torch.inf]), torch.ones(2)]
    ours, theirs = with_grads(grads), rivals(grads)
    assert clip_grad_norm_(ours, 1.0) == torch.inf
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    for our, their in zip(ours, theirs, strict=False):
        torch.testing.assert_close(our.grad, their.grad, equal_nan=True)


def test_nothing_to_clip() -> None:
    assert clip_grad_norm_([Parameter(torch.ones(2))], 1.0) == 0
