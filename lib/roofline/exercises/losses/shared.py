"""What the exercises of the chapter share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from roofline.grading import (
    Call,
    Item,
    compare,
)

Mistakes = Sequence[tuple[Any, str]]
DERIVATIVES = ("torch.Tensor.backward", "torch.autograd.grad", "torch.func.vjp", "torch.func.grad")


def finite(name: str, points: float, made: Call, expected: Any, hint: str) -> Item:
    """Like compare, with a hint of the exercise's own for whatever isn't finite."""
    item = compare(name, points, made, expected)
    if item.lost and any(word in item.message for word in ("NaN", "infinite", "inf,", "nan,")):
        return Item(name, points, 0.0, item.message, hint)
    return item


def number(
    name: str, points: float, made: Any, right: torch.Tensor, mistakes: Mistakes = ()
) -> Item:
    """Like compare for one number, which may come as a float or as a tensor of no dimensions."""
    return compare(name, points, made, float(right), [(plain(v), hint) for v, hint in mistakes])


def plain(value: Any) -> Any:
    """A tensor of no dimensions as a float, also inside a list; anything else as it is."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    return float(value) if isinstance(value, torch.Tensor) and value.dim() == 0 else value
