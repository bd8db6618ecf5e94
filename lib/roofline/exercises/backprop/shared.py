"""What exercises on pullbacks share: forbidden ways out, bytes held, elementwise cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from roofline.autograd.memory import captured
from roofline.grading import (
    Call,
    Item,
    at_most,
    call,
    compare,
    generator,
)

TENSOR_CLASSES = (
    "torch.Tensor.backward",
    "torch.autograd.grad",
    "torch.func.vjp",
    "torch.func.grad",
)


def held(pullback: Call) -> Call:
    """The bytes that a pullback keeps alive, each piece of memory once."""

    def add_up(function: Callable) -> int:
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in captured(function)}
        return sum(storage.nbytes() for storage in storages.values())

    return call(add_up, pullback)


def elementwise_probe(answer: Any, cases: Any) -> dict[str, Any]:
    """Call an elementwise operation and its pullback, at ordinary and at extreme inputs."""
    x, dy, extreme = cases
    made, far = call(answer, x), call(answer, extreme)
    return {
        "result": made[0],
        "gradient": call(made[1], dy)[0],
        "far": far[0],
        "far gradient": call(far[1], torch.ones_like(extreme))[0],
        "held": held(made[1]),
    }


def elementwise_cases(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = generator(seed)
    x = 2 * torch.randn(6, 5, generator=random)
    dy = torch.randn(6, 5, generator=random)
    return x, dy, torch.tensor([-100.0, -30.0, 0.0, 30.0, 100.0])


def stable(outputs: Any, far: torch.Tensor, slope: torch.Tensor) -> Item:
    """Result and gradient at inputs up to 100 in size."""
    item = compare("at inputs up to ±100", 0.5, outputs["far"], far)
    if item.lost:
        return item
    return compare("at inputs up to ±100", 0.5, outputs["far gradient"], slope, atol=1e-6)


def holds_one(outputs: Any, gradient: Item, x: torch.Tensor, hint: str) -> Item:
    """Whether the pullback keeps one tensor of x's size; worth nothing while it is wrong."""
    name, one = "remembers one tensor", 4 * x.numel()
    if gradient.lost:
        return Item(name, 1, 0.0, "counted once the gradient is right")
    item = at_most(name, 1, outputs["held"], one, "bytes")
    if item.lost and outputs["held"].ok:
        return Item(name, 1, 0.0, item.message, hint)
    return item
