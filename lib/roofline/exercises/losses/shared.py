"""What the exercises of the chapter share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import (
    Call,
    Item,
    compare,
)

from ..backprop.shared import led_on

Mistakes = Sequence[tuple[Any, str]]


def finite(
    name: str,
    points: float,
    made: Call,
    expected: Any,
    hint: str,
    mistakes: Mistakes = (),
    rtol: float | None = None,
    dtype: torch.dtype | None = None,
) -> Item:
    """Like compare, with a hint of the exercise's own for whatever isn't finite.

    ``dtype`` is as in :func:`number`.
    """
    item = compare(name, points, made, expected, mistakes, rtol=rtol, atol=rtol)
    item = _of_dtype(item, made, dtype)
    if item.lost and any(word in item.message for word in ("NaN", "infinite", "inf,", "nan,")):
        return Item(name, points, 0.0, item.message, hint)
    return led_on(item)


def number(
    name: str,
    points: float,
    made: Any,
    right: Any,
    mistakes: Mistakes = (),
    dtype: torch.dtype | None = None,
) -> Item:
    """Like compare for one number, which may come as a float or as a tensor of no dimensions.

    With ``dtype`` a tensor of another dtype loses the item; a float has none to lose.
    """
    hints = [(plain(v), hint) for v, hint in mistakes]
    item = compare(name, points, made, float(right), hints)
    value = made.value if isinstance(made, Call) else made
    item = _of_dtype(item, value, dtype)
    if item.lost and not item.hint and isinstance(value, torch.Tensor) and value.numel() > 1:
        return replace(item, hint="one number is asked: is the mean over the examples left out?")
    return led_on(item)


def _of_dtype(item: Item, made: Any, dtype: torch.dtype | None) -> Item:
    value = made.value if isinstance(made, Call) else made
    if not dtype or item.lost or not isinstance(value, torch.Tensor) or value.dtype == dtype:
        return item
    came, asked = (str(d).removeprefix("torch.") for d in (value.dtype, dtype))
    return Item(item.name, item.points, 0.0, f"dtype {came}, expected {asked}")


def capped(item: Item, made: Call, most: float, ordinary: Item) -> Item:
    """The item with a hint if a loss that should be far above ``most`` is positive and below it,
    though the item about ``ordinary`` arguments is kept."""
    if not item.lost or ordinary.lost or not isinstance(made.value, (float, torch.Tensor)):
        return item
    if not 0 < float(torch.as_tensor(made.value).double().max()) < most:
        return item
    hint = "a floor or a clamp caps the loss and stops its gradient: change the formula instead"
    return replace(item, hint=hint)


def plain(value: Any) -> Any:
    """A tensor of no dimensions as a float, also inside a list; anything else as it is."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    return float(value) if isinstance(value, torch.Tensor) and value.dim() == 0 else value
