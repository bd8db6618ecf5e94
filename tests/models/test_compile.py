"""A whole training step, our backward walk and AdamW included, as one compiled graph."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from roofline import losses, models, optim

CASES: dict[str, tuple[Any, torch.Tensor, torch.Tensor]] = {
    "mlp": (
        lambda: models.MLP([20, 16, 16, 5]),
        torch.randn(8, 20, generator=torch.Generator().manual_seed(0)),
        torch.arange(8) % 5,
    ),
    "gpt": (
        lambda: models.GPT(11, 8, 16, 2, 1),
        torch.arange(32).view(4, 8) % 11,
        torch.arange(1, 33) % 11,
    ),
}


def stepper(model: Any) -> tuple[Callable[..., torch.Tensor], optim.Schedule]:
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    schedule = optim.Schedule(optimizer, optim.cosine(20))

    def step(x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = model(x)
        loss = losses.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.data

    return step, schedule


@pytest.mark.parametrize(("case", "backend"), [("mlp", "inductor"), ("gpt", "aot_eager")])
def test_a_compiled_step_is_one_graph_and_equals_eager(case: str, backend: str) -> None:
    """aot_eager traces as inductor does and skips its C++ compiler, which takes a minute for GPT.

    The learning rate changes from step to step: a compiled step must not keep an old one.
    """
    build, x, targets = CASES[case]
    torch.manual_seed(0)
    model = build()
    twin = copy.deepcopy(model)
    torch.compiler.reset()
    step, schedule = stepper(model)
    eager, eager_schedule = stepper(twin)
    compiled = torch.compile(step, fullgraph=True, backend=backend)
    curves: tuple[list[float], list[float]] = ([], [])
    for _ in range(6):
        curves[0].append(compiled(x, targets).item())
        curves[1].append(eager(x, targets).item())
        schedule.step()
        eager_schedule.step()
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)
    assert curves[1][-1] < curves[1][0] - 0.01
