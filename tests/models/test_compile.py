"""A whole training step, our backward walk, clipping and AdamW included, as one compiled graph."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from needs import need
from roofline import losses, models, optim
from roofline.train.compiled import COMPILERS
from torch._dynamo.utils import counters

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

CASES: dict[str, tuple[Any, torch.Tensor, torch.Tensor]] = {
    "mlp": (
        lambda: models.MLP([20, 16, 5]),
        torch.randn(8, 20, generator=torch.Generator().manual_seed(0)),
        torch.arange(8) % 5,
    ),
    "gpt": (
        lambda: models.GPT(11, 8, 16, 2, 1),
        torch.arange(32).view(4, 8) % 11,
        torch.arange(1, 33) % 11,
    ),
}
OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=0.1, nesterov=True),
    "adamw": lambda p: optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "adamw, rate in a tensor": lambda p: optim.AdamW(p, lr=torch.tensor(1e-2), weight_decay=0.1),
}


def stepper(model: Any, build: Callable[[Any], optim.Optimizer]) -> tuple[Step, optim.Schedule]:
    optimizer = build(model.parameters())

    def step(x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = model(x)
        loss = losses.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets)
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.data

    return step, optim.Schedule(optimizer, optim.warmup_cosine(3, 20))


def follow(case: str, backend: str, optimizer: str, dtype: torch.dtype, steps: int = 6) -> int:
    """Step a model and its copy, compiled and as written; the number of graphs that took.

    The learning rate is another one at nearly every step.
    """
    build, x, targets = CASES[case]
    torch.manual_seed(0)
    model = build().to(dtype)
    x = x.to(dtype) if x.is_floating_point() else x
    twin = copy.deepcopy(model)
    torch.compiler.reset()
    counters.clear()
    step, schedule = stepper(model, OPTIMIZERS[optimizer])
    eager, eager_schedule = stepper(twin, OPTIMIZERS[optimizer])
    compiled = torch.compile(step, fullgraph=True, backend=backend)
    curve = []
    for _ in range(steps):
        loss, expected = compiled(x, targets).item(), eager(x, targets).item()
        assert loss == pytest.approx(expected, abs=1e-5)
        for one, other in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(one.data, other.data, atol=1e-5, rtol=0)
        curve.append(expected)
        schedule.step(), eager_schedule.step()
    assert curve[-1] < curve[0] - 0.01
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize(
    ("case", "optimizer", "dtype", "graphs"),
    [
        ("mlp", "adamw", torch.float32, 2),
        ("gpt", "adamw, rate in a tensor", torch.float64, 1),
    ],
)
def test_a_compiled_step_equals_eager(
    case: str, optimizer: str, dtype: torch.dtype, graphs: int
) -> None:
    """One graph with the first learning rate in it and one for all others, or one with a tensor.

    The GPT in float64: in float32 Adam turns the rounding of gradients that are 0, such as those
    of the keys' bias, into steps of the full learning rate.
    """
    need(any(map(shutil.which, COMPILERS)), "a C++ compiler")
    assert follow(case, "inductor", optimizer, dtype) == graphs


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_optimizers_trace_with_a_changing_rate(optimizer: str) -> None:
    """aot_eager traces and lifts numbers out as inductor does, and leaves the C++ compiler out.

    More steps than the eight graphs that torch.compile is ready to make of one function.
    """
    assert follow("mlp", "aot_eager", optimizer, torch.float32, steps=12) == 2
